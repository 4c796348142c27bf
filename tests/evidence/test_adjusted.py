"""Holm's correction counts what is a comparison, and every split by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.evidence.recorded import make_run, right, wrong
from thickets.analysis.answer import standings
from thickets.analysis.baselines import BaselineFigures, BaselineHeldOut
from thickets.analysis.evidence import adjusted
from thickets.analysis.statistics import holm, paired, share
from thickets.analysis.summary import summarise
from thickets.baselines.kinds.best_single import BestSingle
from thickets.store import Run
from thickets.types import SplitName

N = 40
BASE = [i % 2 == 0 for i in range(N)]
VOTE = [i % 2 == 0 or i < 20 for i in range(N)]


def figures(name: str, answers: Sequence[bool], same_as: str | None = None) -> BaselineFigures:
    """A baseline that was right on these test questions."""
    over = paired(answers, VOTE)
    measured = BaselineHeldOut("test", share(sum(answers), N), over, paired(BASE, answers), 0.0, ())
    return BaselineFigures(name, name, True, (measured,), None, {}, None, same_as)


def test_what_is_no_comparison_raises_no_other_s_p_value() -> None:
    other = figures("samples", [not b for b in BASE])
    p = paired(BASE, VOTE).p_value
    raw = other.held_out[0].randopt_over.p_value
    alone = adjusted([other], "test", p)
    assert [alone["base"], alone["samples"]] == holm([p, raw])
    found = adjusted([figures("single", VOTE, "vote"), other, figures("prompt", BASE, "base")], "test", p)
    assert found == {**alone, "prompt": alone["base"]}
    assert adjusted([other], "validation", p) == {"base": p}


@pytest.mark.parametrize("same_as", [None, "vote", "base"])
def test_each_split_of_a_run_is_corrected_by_itself(
    same_as: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same(self: BestSingle, run: Run) -> str | None:
        return same_as

    monkeypatch.setattr(BestSingle, "same_as", same)
    base = [right() if r else wrong() for r in BASE]
    member = [right() if r else wrong() for r in VOTE]
    splits: tuple[SplitName, ...] = ("validation", "test")
    answers = {"selection": {None: base, 0: member}} | {
        split: {None: base[:size], 0: member[:size]} for split, size in zip(splits, (20, N), strict=True)
    }
    with make_run(tmp_path / "run", answers, [0]) as run:  # type: ignore[arg-type]
        summary = summarise(run, in_depth=True)
    assert summary.evidence is not None
    for split in splits:
        first, single, _ = standings(summary, split)
        assert first.randopt_over is not None and single.randopt_over is not None
        raw = [first.randopt_over.p_value, single.randopt_over.p_value]
        lone = [raw[0], {"vote": None, "base": raw[0]}.get(same_as or "")]
        assert [first.adjusted, single.adjusted] == (holm(raw) if same_as is None else lone)
        assert single.same_as == same_as
    assert len(set(summary.evidence.adjusted)) == 2
