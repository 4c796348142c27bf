"""Spectral discordance: its definition, its ends, and what noise alone makes of it."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.tables import table
from tests.evidence.recorded import make_run
from thickets.analysis.discordance import correlations, discordance, discordance_of, percentile_ranks, subsets
from thickets.analysis.summary import summarise
from thickets.config import parse
from thickets.randopt import execute
from thickets.report.discordance import render, render_spectrum
from thickets.store import Run


def by_columns(scores: Any, sigmas: Any = None) -> Any:
    """The discordance of candidates whose score on column j is `scores[:, j]`: one question a column."""
    scores = np.asarray(scores, float)
    whole = table([0.0] * scores.shape[1], scores, sigmas)
    return discordance_of(whole.others, {f"t{j}": np.array([j]) for j in range(scores.shape[1])}, of_tasks=True)


@given(
    st.integers(2, 4).flatmap(
        lambda m: st.lists(st.lists(st.integers(0, 4), min_size=m, max_size=m), min_size=3, max_size=12)
    )
)
def test_it_is_one_less_the_mean_correlation_of_ranks(scores: list[list[int]]) -> None:
    from scipy.stats import spearmanr

    found = by_columns(scores)
    array = np.asarray(scores, float)
    varying = [column for column in array.T if len(set(column)) > 1]
    pairs = [spearmanr(a, b).statistic for i, a in enumerate(varying) for b in varying[:i]]
    value = found.rows[0].value
    if not pairs:
        assert math.isnan(value.value)
        return
    assert value.value == pytest.approx(1 - np.mean(pairs), abs=1e-9)
    assert -1e-9 <= value.value <= found.largest + 1e-9
    assert sum(found.spectrum) == pytest.approx(1)
    assert list(found.spectrum) == sorted(found.spectrum, reverse=True)


def test_generalists_and_specialists() -> None:
    ranks = np.arange(30.0)
    same = by_columns(np.stack([ranks, ranks * 2, ranks + 1], 1) / 100)
    assert same.rows[0].value.value == pytest.approx(0, abs=1e-9)
    assert same.spectrum[0] == pytest.approx(1)
    opposed = by_columns(np.stack([ranks, -ranks], 1) / 100)
    assert opposed.rows[0].value.value == pytest.approx(2)
    assert opposed.largest == 2
    random = np.random.Generator(np.random.PCG64(1)).random((2000, 3))
    unrelated = by_columns(random).rows[0].value
    assert unrelated.low < 1 < unrelated.high
    assert unrelated.high - unrelated.low < 0.2


def test_within_one_sigma_it_may_differ_from_all_together() -> None:
    random = np.random.Generator(np.random.PCG64(2))
    small, large = random.random((200, 2)) * 0.1 + 0.8, random.random((200, 2)) * 0.1
    found = by_columns(np.concatenate([small, large]), [0.001] * 200 + [0.1] * 200)
    together, *each = found.rows
    assert together.value.value < 0.4
    assert [(r.sigma, r.candidates) for r in each] == [(0.001, 200), (0.1, 200)]
    assert all(r.value.value > 0.8 for r in each)


def test_noise_alone_is_told_from_specialists() -> None:
    random = np.random.Generator(np.random.PCG64(3))
    skill = random.uniform(0.3, 0.7, (400, 1))
    answers = (random.random((400, 80)) < skill).astype(float)
    columns = {"a": np.arange(0, 40), "b": np.arange(40, 80)}
    same = discordance_of(table([0.0] * 80, answers).others, columns, of_tasks=True)
    # Two halves of one task: what is seen is noise.
    assert same.rows[0].value.value == pytest.approx(same.by_noise, abs=0.1)
    other = (random.random((400, 40)) < random.uniform(0.3, 0.7, (400, 1))).astype(float)
    two = discordance_of(table([0.0] * 80, np.concatenate([answers[:, :40], other], 1)).others, columns, of_tasks=True)
    assert two.rows[0].value.low > two.by_noise + 0.3


@given(st.integers(0, 500))
def test_subsets_share_the_questions_out(questions: int) -> None:
    found = subsets(questions)
    if questions < 20:
        assert not found
        return
    sizes = [len(v) for v in found.values()]
    assert min(sizes) >= 10
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(questions))


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=2, max_size=8))
def test_percentile_ranks_are_between_the_ends_and_ties_share_one(scores: list[list[int]]) -> None:
    array = np.asarray(scores, float)
    ranks = percentile_ranks(array)
    assert ((ranks > 0) & (ranks < 1)).all()
    assert ranks.mean(axis=0) == pytest.approx(0.5)
    for j in range(2):
        for value in set(array[:, j]):
            assert len(set(ranks[array[:, j] == value, j])) == 1


def test_correlations_are_of_ranks() -> None:
    scores = np.array([[1, 2, 3, 40], [0.1, 0.2, 0.3, 0.35], [4, 3, 2, 1], [1, 1, 1, 1]]).T
    found = correlations(table([0.0] * 4, scores).others, {str(j): np.array([j]) for j in range(4)})
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)
    assert math.isnan(found[0, 3])


def test_part_marks_that_add_up_alike_are_a_tie_in_every_figure_of_the_report(tmp_path: Path) -> None:
    # On the first task the first two are equal, but for how their parts round.
    first = [[0.1, 0.7], [0.8, 0.0], [0.9, 0.9], [0.0, 0.0]]
    second = [[0.2, 0.2], [0.0, 0.3], [0.0, 0.0], [1.0, 0.0]]
    rewards = [[*a, *b] for a, b in zip(first, second, strict=True)]
    answers = {c - 1: [(r, r > 0.5, "x") for r in row] for c, row in enumerate([[0.0] * 4, *rewards])}
    with make_run(tmp_path / "run", {"selection": {None: answers.pop(-1), **answers}}) as run:
        run.set_meta("parts", {n: {"selection": [i, i + 2], "test": [0, 0]} for n, i in (("a", 0), ("b", 2))})
        summary, figures = summarise(run), discordance(run)
    assert figures is not None
    tied = spearman([0.4, 0.4, 0.9, 0.0], [0.2, 0.15, 0.0, 0.5])
    assert figures.correlation[0][1] == pytest.approx(tied)
    assert [tuple(r for _, r in part.correlation) for part in summary.parts] == list(figures.correlation)


def spearman(a: list[float], b: list[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def test_a_run_of_one_task_is_compared_by_subsets_and_drawn(settings: dict[str, Any]) -> None:
    settings["splits"] = {"selection": 30, "test": 20}
    config = parse(settings)
    execute(config)
    with Run.read(config.directory) as run:
        found = discordance(run)
    assert found is not None
    assert not found.of_tasks
    assert found.names == ("subset 1", "subset 2", "subset 3")
    assert found.questions == (10, 10, 10)
    figure = render(found)
    assert figure.svg.count("<svg") == 2
    assert len(list(csv.reader(io.StringIO(figure.data)))) == 4
    assert render_spectrum(found).svg.count("<svg") == 2


def test_too_few_questions_or_no_trials_give_nothing(settings: dict[str, Any]) -> None:
    config = parse(settings)
    Run.begin(config).close()
    with Run.read(config.directory) as run:
        assert discordance(run) is None
    execute(config)
    with Run.read(config.directory) as run:
        assert discordance(run) is None
