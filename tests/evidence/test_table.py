"""The outcomes of a split as arrays are what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.evidence.recorded import make_run, right, wrong
from thickets.store import key_number


def test_a_table_holds_every_outcome_in_order(tmp_path: Path) -> None:
    answers = {
        3: [wrong("7"), (1.25, True, "ü😀", None), wrong(None)],
        None: [right("5"), wrong("7"), right("5")],
        1: [],
    }
    with make_run(tmp_path / "run", {"selection": answers}) as run:
        table = run.table("selection")
    assert table.candidates.tolist() == [-1, 3]
    assert table.questions == 3
    assert np.isnan(table.sigmas[0]) and table.sigmas[1] == 0.001
    assert table.rewards.tolist() == [[1, 0, 1], [0, 1.25, 0]]
    assert table.correct.tolist() == [[True, False, True], [False, True, False]]
    seven, five = key_number("7"), key_number("5")
    assert table.keys.tolist() == [[five, seven, five], [seven, key_number("ü😀"), -1]]
    assert len({seven, five, key_number("ü😀"), key_number("")}) == 4
    assert min(seven, five) >= 0
    assert table.base is not None and table.base.candidates.tolist() == [-1]
    assert table.others.candidates.tolist() == [3]


def test_without_trials_it_is_empty_and_without_the_base_it_says_so(tmp_path: Path) -> None:
    with make_run(tmp_path / "run", {"selection": {None: [right()], 0: [right()]}}) as run:
        table = run.table("test")
        assert (table.rewards.shape, table.base, len(table.others.candidates)) == ((0, 0), None, 0)
        others = run.table("selection").others
    assert others.base is None
    assert others.others.candidates.tolist() == [0]


def test_thousands_of_candidates_take_megabytes(tmp_path: Path) -> None:
    import tracemalloc

    many = {
        None: [right()] * 50,
        **{c: [right(str(c)), *[wrong(str(c * 50 + q)) for q in range(49)]] for c in range(400)},
    }
    with make_run(tmp_path / "run", {"selection": many}) as run:
        del many
        tracemalloc.start()
        table = run.table("selection")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert table.rewards.shape == (401, 50)
    # 13 bytes an outcome and the cache of digests; as outcomes they would be a hundred times as much.
    assert peak < 13 * 401 * 50 + 5e6
