"""The answer in short: the sentences to begin with, what RandOpt is held against, and what is missing for that.

Knows a summary alone, and neither runs nor how an answer is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from thickets.analysis.statistics import Interval, Paired
from thickets.analysis.summary import HeldOut, Summary, headline
from thickets.types import SplitName


@dataclass(frozen=True)
class Standing:
    """One model or vote on a held-out split. `passes` is its answers to one question.

    `kind` is `base`, `control` or `vote`; `randopt_over` is RandOpt@K minus it and `adjusted` the Holm-adjusted p-value
    of that, `None` where it is RandOpt@K itself. `same_as` is whose answers its own are, `vote` or `base`.
    """

    kind: str
    title: str
    passes: int
    accuracy: Interval
    randopt_over: Paired | None
    adjusted: float | None
    same_as: str | None = None


def sentences(summary: Summary) -> tuple[str, ...]:
    """The result in plain words; none before the test. The gate's comes first unless the gate was passed.

    Where there are no test questions the gate's is all there is, once the validation questions are answered.
    """
    if summary.test is None:
        decided = summary.validation is not None and not summary.sizes.get("test", 0)
        return (summary.evidence.gate.sentence,) if decided and summary.evidence else ()
    found = headline(summary.test, len(summary.members))
    if summary.evidence is None:
        return (found,)
    gate = summary.evidence.gate
    return (found, gate.sentence) if gate.passed else (gate.sentence, found)


def tone(summary: Summary) -> str:
    """`gain` where the gate was passed and the test shows a gain, `worse` where either shows a loss, else `none`."""
    gains = [summary.test.gain.difference] if summary.test else []
    gate = summary.evidence.gate if summary.evidence else None
    if gate and gate.difference:
        gains.append(gate.difference.difference)
    if any(gain.high < 0 for gain in gains):
        return "worse"
    passed = gate is not None and gate.passed
    return "gain" if passed and summary.test and summary.test.gain.difference.low > 0 else "none"


def standings(summary: Summary, split: SplitName = "test") -> tuple[Standing, ...]:
    """The base, every baseline that was run, fewest passes first, and RandOpt@K; none before the split's answers."""
    held_out = summary.test if split == "test" else summary.validation
    return tuple(_standings(summary, split, held_out)) if held_out else ()


def _standings(summary: Summary, split: SplitName, held_out: HeldOut) -> Iterator[Standing]:
    adjusted = summary.evidence.adjusted.get(split, {}) if summary.evidence else {}
    k = len(summary.members)
    yield Standing("base", "base", 1, held_out.base, held_out.gain, adjusted.get("base"))
    for baseline in sorted(summary.baselines, key=lambda b: b.spent.passes if b.spent else 0):
        measured = baseline.on(split)
        if measured is not None and baseline.spent is not None:
            over, p_value = measured.randopt_over, adjusted.get(baseline.name)
            passes = baseline.spent.passes
            yield Standing("control", baseline.title, passes, measured.accuracy, over, p_value, baseline.same_as)
    yield Standing("vote", f"RandOpt@{k}", k, held_out.ensemble, None, None)


def missing(summary: Summary) -> tuple[str, ...]:
    """The default baselines that would say something here and have no figures, by title; none before the test."""
    if summary.test is None:
        return ()
    return tuple(b.title for b in summary.baselines if b.default and not b.unsuited and b.on("test") is None)
