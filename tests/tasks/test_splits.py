"""Splits: disjoint, repeatable, stable when one of them grows, and honest about what was dropped."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.config import SplitsConfig
from thickets.errors import DataError
from thickets.tasks.base import Pools
from thickets.tasks.splits import Splits, make_splits
from thickets.types import Example


def _examples(names: Iterable[object], file: str = "a") -> list[Example]:
    return [Example(f"{file}:{n}", f"Q {name}", {"answer": str(name)}) for n, name in enumerate(names, 1)]


def _asked(splits: Splits) -> list[list[object]]:
    return [[e.prompt for e in part] for part in (splits.selection, splits.validation, splits.test)]


_sizes = st.tuples(st.integers(1, 20), st.integers(0, 20), st.one_of(st.none(), st.integers(1, 20)))


@given(_sizes, st.integers(0, 40), st.integers(0, 1000), st.booleans())
def test_splits_are_disjoint_complete_and_repeatable(
    sizes: tuple[int, int, int | None], spare: int, seed: int, own_test: bool
) -> None:
    selection, validation, test = sizes
    config = SplitsConfig(selection=selection, validation=validation, test=test, seed=seed)
    train = _examples(range(selection + validation + (test or 1) + spare))
    pools = Pools(train, _examples(range(1000, 1020), "b") if own_test else None)
    splits = make_splits(pools, config)
    hashes = [e.content_hash for part in (splits.selection, splits.validation, splits.test) for e in part]
    assert len(set(hashes)) == len(hashes)
    assert (len(splits.selection), len(splits.validation)) == (selection, validation)
    whole = 20 if own_test else len(train) - selection - validation
    assert len(splits.test) == (test or whole)
    assert all(e.label.startswith("b" if own_test else "a") for e in splits.test)
    assert make_splits(pools, config) == splits


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 100))
def test_more_selection_examples_leave_the_others_where_they_were(few: int, more: int, seed: int) -> None:
    pools = Pools(_examples(range(100)))
    small = make_splits(pools, SplitsConfig(selection=few, test=20, seed=seed))
    large = make_splits(pools, SplitsConfig(selection=few + more, validation=5, test=20, seed=seed))
    assert large.selection[:few] == small.selection
    assert large.test == small.test


def test_the_test_pool_does_not_depend_on_the_train_pool() -> None:
    test = _examples(range(100, 150), "b")
    config = SplitsConfig(selection=5, test=10)
    first = make_splits(Pools(_examples(range(10)), test), config)
    second = make_splits(Pools(_examples(range(60)), test), config)
    assert first.test == second.test


def test_seeds_shuffle_and_the_order_is_not_that_of_the_file() -> None:
    pools = Pools(_examples(range(50)))
    first, second = (make_splits(pools, SplitsConfig(selection=10, seed=seed)) for seed in (0, 1))
    assert first.selection != second.selection
    assert first.selection != tuple(pools.train[:10])


def test_the_digest_changes_with_every_row_and_border_but_not_with_labels() -> None:
    config = SplitsConfig(selection=3, validation=2)
    train = _examples(range(10))
    digest = make_splits(Pools(train), config).digest
    assert len(digest) == 64
    assert make_splits(Pools(_examples(range(10), "moved")), config).digest == digest
    for n in range(10):
        other_answer = [*train[:n], Example("x", train[n].prompt, {"answer": "new"}), *train[n + 1 :]]
        other_question = [*train[:n], Example("x", "Q new", train[n].columns), *train[n + 1 :]]
        reworded = [*train[:n], Example("x", "Q new", train[n].columns, str(train[n].prompt)), *train[n + 1 :]]
        digests = {make_splits(Pools(rows), config).digest for rows in (other_answer, other_question, reworded)}
        assert len(digests) == 3
        assert digest not in digests
    assert make_splits(Pools(train), SplitsConfig(selection=2, validation=3)).digest != digest


def test_a_question_that_stands_twice_is_an_error_that_names_the_rows() -> None:
    train = _examples([1, 2, 3, 2, 1, 1, 2, 2])
    with pytest.raises(DataError) as caught:
        make_splits(Pools(train), SplitsConfig(selection=2))
    message = str(caught.value)
    assert message.startswith("the same question stands twice in the data: a:")
    assert message.count(" and a:") == 3
    assert " and 2 more; mend the data, or set --task.duplicates drop to keep one of each" in message


def test_a_question_in_train_and_test_is_an_error() -> None:
    with pytest.raises(DataError, match=r"stands twice in the data: a:1 and b:1; mend"):
        make_splits(Pools(_examples([1]), _examples([1], "b")), SplitsConfig(selection=1))


def test_duplicates_that_are_not_chosen_do_no_harm() -> None:
    pools = Pools(_examples([1, 2, 3]), _examples([4, *[5] * 40], "b"))
    seeds = [n for n in range(200) if _chosen(pools, n) == "Q 4"]
    assert seeds
    make_splits(pools, SplitsConfig(selection=3, test=1, seed=seeds[0]))


def _chosen(pools: Pools, seed: int) -> object:
    return make_splits(pools, SplitsConfig(selection=3, test=1, seed=seed)).test[0].prompt


def test_dropping_keeps_the_first_and_the_test() -> None:
    pools = Pools(_examples([1, 2, 2, 3, 4]), _examples([3, 5, 5, 5], "b"), notes=("Earlier note.",))
    splits = make_splits(pools, SplitsConfig(selection=3), duplicates="drop")
    assert sorted(e.label for e in splits.selection) == ["a:1", "a:2", "a:5"]
    assert sorted(e.label for e in splits.test) == ["b:1", "b:2"]
    assert splits.notes == (
        "Earlier note.",
        "1 row left out whose question stands earlier in the data.",
        "2 rows left out whose question stands earlier in the test data.",
        "1 row left out whose question stands in the test data too.",
    )


def test_dropping_changes_nothing_where_nothing_stands_twice() -> None:
    pools = Pools(_examples(range(20)), _examples(range(20, 30), "b"))
    config = SplitsConfig(selection=5, validation=5)
    assert make_splits(pools, config, "drop") == make_splits(pools, config, "error")


# 12 different questions in train at least, 10 of which the test may take: 2 are left, and two are needed.
@given(st.permutations([*range(12), *range(12), 3, 3]), st.lists(st.integers(2, 20), min_size=1, max_size=20))
def test_after_dropping_no_question_stands_twice(train: list[int], test: list[int]) -> None:
    for pools in (Pools(_examples(train)), Pools(_examples(train), _examples(test, "b"))):
        splits = make_splits(pools, SplitsConfig(selection=1, validation=1), "drop")
        asked = [question for part in _asked(splits) for question in part]
        assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    ("pools", "config", "sentence"),
    [
        (Pools(_examples(range(5))), {"selection": 5}, "need 6 examples (selection 5, validation 0, test at least 1)"),
        (
            Pools(_examples(range(5))),
            {"selection": 2, "validation": 2, "test": 3},
            "need 7 examples (selection 2, valid",
        ),
        (
            Pools(_examples(range(5)), _examples([9], "b")),
            {"selection": 6},
            "need 6 examples (selection 6, validation 0)",
        ),
        (
            Pools([]),
            {"selection": 1},
            "need 2 examples (selection 1, validation 0, test at least 1), but the data have 0",
        ),
    ],
)
def test_too_few_examples(pools: Pools, config: dict[str, int], sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        make_splits(pools, SplitsConfig.model_validate(config))
    assert str(caught.value).startswith(f"the splits {sentence}")
    assert f"but the data have {len(pools.train)}; lower --splits.selection" in str(caught.value)


@pytest.mark.parametrize(("test", "wanted"), [(2, 1), (1, 0)])
def test_too_few_test_examples(test: int, wanted: int) -> None:
    pools = Pools(_examples(range(5)), _examples(range(10, 10 + wanted), "b"))
    with pytest.raises(
        DataError, match=rf"needs {test} examples, but the test data have {wanted}; lower --splits.test"
    ):
        make_splits(pools, SplitsConfig(selection=1, test=test))
