"""Whole runs of worlds whose truth is known, three hundred of each: the figures tell it, as often as they say.

Everything goes through the pipeline that the command takes, down to the run directory; only the engine is made up, and
no report is drawn. Seeds are fixed, so what passes once passes always; limits are those of simulation error.
`pytest -s` prints what was measured: the table of docs/evidence.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tests.evidence.found import (
    EXPERTS,
    FORM,
    FORM_ALONE,
    LUCK,
    MARGINS,
    NAMES,
    RUNS,
    SAME,
    SIZES,
    TOP_K,
    VARIED,
    Found,
    find,
)
from tests.evidence.worlds import (
    Step,
    Truth,
    World,
    expert_density,
    true_accuracy,
    true_density,
    true_density_here,
    truth,
)
from thickets.analysis.shrinkage import Shrinkage
from thickets.analysis.statistics import Interval

# A world's runs are made in the first test that asks for them: half a minute, on a busy machine many times that.
pytestmark = pytest.mark.timeout(1500)

Runs = Callable[[World], list[Found]]
Worlds = Sequence[World]
Tell = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Makes the runs of a world when they are first asked for."""
    return functools.cache(find)


@pytest.fixture(scope="module")
def tell() -> Iterator[Tell]:
    """Takes what was measured as rows (world, claim, found) of a table, and prints it in the end."""
    rows = [("world", "claim", "found"), ("---", "---", "---")]
    yield lambda *row: rows.append(row)
    print("\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))


def _percent(shares: Iterable[float]) -> str:
    return f"{', '.join(f'{100 * share:.1f}' for share in shares)} %"


@dataclass(frozen=True)
class Case:
    """The intervals of a world's runs, and what each of them should hold."""

    name: str
    intervals: Sequence[Interval]
    truths: Sequence[float]

    @property
    def errors(self) -> list[float]:
        """By how much each estimate is too large."""
        return [i.value - true for i, true in zip(self.intervals, self.truths, strict=True)]


# Paired differences have one question gained and one lost added: of so few, their intervals hold 96 to 97 %.
PAIRED = 0.97
WIDE = 1.0


def _covers(tell: Tell, claim: str, cases: Sequence[Case], most: float = 0.95) -> None:
    """Intervals of 95 % hold the truth at that rate, or up to `most`, within three standard errors.

    There are some thirty such rates: within two, chance alone would fail one of them.
    """
    rates = [
        float(np.mean([i.low <= true <= i.high for i, true in zip(c.intervals, c.truths, strict=True)])) for c in cases
    ]
    tell(", ".join(c.name for c in cases), claim, f"in {_percent(rates)} of runs")
    for case, rate in zip(cases, rates, strict=True):
        few, many = (3 * (share * (1 - share) / len(case.truths)) ** 0.5 for share in (0.95, most))
        assert 0.95 - few <= rate <= most + many, case.name


def _about(values: Sequence[float], true: float, slack: float = 0.0) -> None:
    """The mean of independent values is the truth, within three of its standard errors."""
    error = 3 * float(np.std(values)) / len(values) ** 0.5
    assert abs(float(np.mean(values)) - true) <= error + slack, (float(np.mean(values)), true, error)


def _truth(world: World, found: Found) -> Truth:
    """What the vote of the run's members does."""
    return truth(world, tuple(world.role(p) for p in found.members))


def _samples(world: World) -> float:
    """What self-consistency has right."""
    return truth(world, ("redrawn",) * TOP_K).vote


VOTING = (LUCK, EXPERTS, FORM)


def _voting(
    runs: Runs, interval: Callable[[Found], Interval], true: Callable[[World, Found], float], worlds: Worlds = VOTING
) -> list[Case]:
    return [Case(NAMES[w], [interval(f) for f in runs(w)], [true(w, f) for f in runs(w)]) for w in worlds]


def test_the_interval_of_the_gain_covers_the_truth_at_its_rate(runs: Runs, tell: Tell) -> None:
    cases = _voting(runs, lambda f: f.test.gain.difference, lambda w, f: _truth(w, f).gain)
    _covers(tell, "the 95 % interval of the gain holds the truth", cases, most=PAIRED)
    for case in cases:
        _about(case.errors, 0.0, 0.003)


def test_intervals_of_accuracies_cover_the_truth_at_their_rate(runs: Runs, tell: Tell) -> None:
    base = _voting(runs, lambda f: f.test.base, lambda w, f: 0.5 * w.formed)
    _covers(tell, "so does that of the base's accuracy", base)
    vote = _voting(runs, lambda f: f.test.ensemble, lambda w, f: _truth(w, f).vote)
    _covers(tell, "that of the vote's accuracy", vote)


def test_intervals_of_a_baseline_cover_the_truth_at_their_rate(runs: Runs, tell: Tell) -> None:
    accuracy = _voting(runs, lambda f: f.samples.accuracy, lambda w, f: _samples(w))
    _covers(tell, "that of self-consistency's accuracy", accuracy)
    over = _voting(runs, lambda f: f.samples.randopt_over.difference, lambda w, f: _truth(w, f).vote - _samples(w))
    _covers(tell, "that of RandOpt minus self-consistency", over, most=PAIRED)


def test_the_interval_of_the_gate_covers_the_truth_at_its_rate(runs: Runs, tell: Tell) -> None:
    # In the world of luck the two are equal, by what they are.
    cases = _voting(runs, _decided, lambda w, f: 0.0 if w == LUCK else _truth(w, f).vote - _samples(w))
    _covers(tell, "that of the gate, the same on the validation split", cases, most=PAIRED)


def _decided(found: Found) -> Interval:
    assert found.gate.difference is not None
    return found.gate.difference.difference


def test_crossfitting_is_unbiased_and_its_interval_covers_the_truth(runs: Runs, tell: Tell) -> None:
    def recipe(world: World, found: Found) -> float:
        # On any half of the questions experts come before those that are worse.
        return truth(world, tuple(sorted(world.role(p) for p in found.candidates)[:TOP_K])).gain

    cases = _voting(runs, lambda f: f.crossfit.gain, recipe, (LUCK, EXPERTS))
    _covers(tell, "cross-fitting's combined interval; it leans to the wide side", cases, most=WIDE)
    for case in cases:
        _about(case.errors, 0.0, 0.01)


def test_the_gate_makes_false_claims_in_at_most_one_run_of_twenty(runs: Runs, tell: Tell) -> None:
    passed = {w: sum(f.gate.passed is True for f in runs(w)) for w in (LUCK, SAME)}
    tell("luck, same", "the gate passes falsely in at most 5 %", f"{passed[LUCK]}, {passed[SAME]} of {RUNS}")
    assert all(count <= 0.05 * RUNS for count in passed.values())
    assert all(f.gate.passed is not None for w in passed for f in runs(w))


def test_the_gate_lets_real_gains_pass(runs: Runs, tell: Tell) -> None:
    enough = [f for f in runs(EXPERTS) if all(EXPERTS.role(p) == "expert" for p in f.members)]
    passed = sum(f.gate.passed is True for f in enough)
    tell("experts", "where all members are real experts, the gate passes", f"{passed} of {len(enough)}")
    assert len(enough) > RUNS / 3
    assert passed > 0.5 * len(enough)


@pytest.mark.parametrize("step", VARIED.steps, ids=["small", "large"])
def test_density_is_unbiased_at_every_margin_and_is_not_the_share_of_better_models(
    runs: Runs, tell: Tell, step: Step
) -> None:
    curves = [f.density[step.sigma] for f in runs(VARIED)]
    measured = [[c.reached[i] for c in curves] for i in range(len(MARGINS))]
    true = [true_density(VARIED, step, m, SIZES[VARIED].selection) for m in MARGINS]
    # Nearer, since one base's luck is all its candidates': by itself it moves the mean over the runs by a point or two.
    here = [[true_density_here(VARIED, step, m, f.asked) for f in runs(VARIED)] for m in MARGINS]
    better = [step.better(m) for m in MARGINS]
    tell(
        f"varied, sigma {step.sigma:g}",
        f"δ(m) at margins of 0, 10 and 20 points is right on average (by calculation {_percent(true)}; for the "
        f"questions and bases of these runs {_percent(map(np.mean, here))})",
        f"{_percent(map(np.mean, measured))}; so much better in truth are {_percent(better)}",
    )
    for values, expected, nearer, share in zip(measured, true, here, better, strict=True):
        _about(values, expected)
        _about([value - near for value, near in zip(values, nearer, strict=True)], 0.0)
        assert np.mean(values) > share + 0.02


def test_the_density_of_planted_experts_is_unbiased(runs: Runs, tell: Tell) -> None:
    """At margin 0 it is the share that was planted, but for those who by luck lose nothing."""
    (step,) = EXPERTS.steps
    measured = [[f.density[step.sigma].reached[i] for f in runs(EXPERTS)] for i in range(len(MARGINS))]
    true = [expert_density(EXPERTS, margin, SIZES[EXPERTS].selection) for margin in MARGINS]
    assert EXPERTS.density <= true[0] < EXPERTS.density + 0.02
    tell(
        "experts",
        "δ(m) at margins of 0, 10 and 20 points is right on average (planted: 35 % experts; by calculation "
        f"{_percent(true)})",
        _percent(map(np.mean, measured)),
    )
    for values, expected in zip(measured, true, strict=True):
        _about(values, expected)


def test_where_no_candidate_is_better_the_density_is_what_chance_gives(runs: Runs, tell: Tell) -> None:
    (step,) = LUCK.steps
    curves, margins = [f.density[step.sigma] for f in runs(LUCK)], MARGINS[:2]
    measured = [[c.reached[i] for c in curves] for i in range(len(margins))]
    chance = [[c.by_chance[i] for c in curves] for i in range(len(margins))]
    tell(
        "luck",
        "δ(m) at margins of 0 and 10 points is on average what luck alone is said to give "
        f"({_percent(map(np.mean, chance))})",
        _percent(map(np.mean, measured)),
    )
    for margin, values, said in zip(margins, measured, chance, strict=True):
        _about([value - by for value, by in zip(values, said, strict=True)], 0.0)
        _about(said, true_density(LUCK, step, margin, SIZES[LUCK].selection))


def test_intervals_of_the_density_cover_it_on_these_questions_and_with_luck_on_any(runs: Runs, tell: Tell) -> None:
    here, anywhere = [], []
    for world, step in ((LUCK, *LUCK.steps), *((VARIED, s) for s in VARIED.steps)):
        name = NAMES[world] if len(world.steps) == 1 else f"{NAMES[world]} {step.sigma:g}"
        curves = [f.density[step.sigma] for f in runs(world)]
        truths = [true_density_here(world, step, 0.0, f.asked) for f in runs(world)]
        here.append(Case(name, [c.interval for c in curves], truths))
        anywhere_true = true_density(world, step, 0.0, SIZES[world].selection)
        anywhere.append(Case(name, [c.with_luck for c in curves], [anywhere_true] * RUNS))
    _covers(tell, "the interval of δ(0) holds what is true of these questions and this base", here)
    _covers(tell, "the one with the base's luck holds what is true of any", anywhere, most=WIDE)


def test_luck_of_the_best_is_foretold_and_taken_off(runs: Runs, tell: Tell) -> None:
    found = [f.shrinkage for f in runs(LUCK)]
    assert np.mean([s.members[0].raw for s in found]) > 0.6
    # A spread that is none is sometimes estimated to be some, never to be less than none.
    _about([s.members[0].shrunk.value for s in found], 0.5, 0.03)
    _about(_losses(tell, "luck", found), 0.0, 0.03)


def test_with_many_candidates_the_best_loses_what_is_foretold(runs: Runs, tell: Tell) -> None:
    found = [f.shrinkage for f in runs(VARIED)]
    _about(_losses(tell, "varied", found), 0.0, 0.01)
    true = [true_accuracy(VARIED, VARIED.worth(f.members[0])) for f in runs(VARIED)]
    _about([s.members[0].shrunk.value - t for s, t in zip(found, true, strict=True)], 0.0, 0.01)


def test_the_interval_of_a_shrunken_score_covers_the_truth_at_its_rate(runs: Runs, tell: Tell) -> None:
    # How hard the questions happened to be moves all scores alike, and is not in the interval.
    cases = _voting(
        runs,
        lambda f: f.shrinkage.members[0].shrunk,
        lambda w, f: true_accuracy(w, w.worth(f.members[0]), f.asked),
        (LUCK, VARIED),
    )
    claim = "that of the best member's shrunken score, for questions as hard as those that selected"
    # Where no spread is there to be told, that it is not known makes the interval wide.
    _covers(tell, claim, cases, most=WIDE)


def _losses(tell: Tell, name: str, found: Sequence[Shrinkage]) -> list[float]:
    """By how much more the best candidates lost than was foretold, negative."""
    lost = [-s.measured for s in found if s.measured is not None]
    assert len(lost) == len(found)
    foretold = [s.regression for s in found]
    tell(
        name,
        "the loss of the best candidate is foretold",
        f"{100 * float(np.mean(foretold)):.1f} points foretold, {100 * float(np.mean(lost)):.1f} lost",
    )
    return [f - t for f, t in zip(foretold, lost, strict=True)]


def test_real_differences_are_not_taken_off(runs: Runs) -> None:
    # An expert has four answers of five right.
    experts = [f.shrinkage.members[0] for f in runs(EXPERTS) if EXPERTS.role(f.members[0]) == "expert"]
    assert np.mean([e.shrunk.value for e in experts]) > 0.7


KINDS = ("formatted", "new", "lost")


def test_the_decomposition_of_a_member_recovers_what_was_planted(runs: Runs, tell: Tell) -> None:
    # Half of the questions are known to the base, and it writes 60 % of those in the form that counts.
    planted = (
        0.5 * (1 - FORM.formed) * (1 - FORM.slips),
        0.5 * FORM.finds,
        0.5 * FORM.formed * FORM.slips,
    )
    found = [
        [np.mean([getattr(m, kind) / m.questions for m in f.changes.members]) for f in runs(FORM)] for kind in KINDS
    ]
    tell("form", f"of each member: formatted, new, lost (planted: {_percent(planted)})", _percent(map(np.mean, found)))
    for shares, share in zip(found, planted, strict=True):
        _about(shares, share)


def test_the_decomposition_of_the_vote_is_what_it_is_in_truth(runs: Runs, tell: Tell) -> None:
    members = truth(FORM, ("formatter",) * TOP_K)
    true = [getattr(members, kind) for kind in KINDS]
    found = [[getattr(f.changes.ensemble, kind) / SIZES[FORM].test for f in runs(FORM)] for kind in KINDS]
    tell("form", f"of the vote: formatted, new, lost (in truth {_percent(true)})", _percent(map(np.mean, found)))
    for shares, share in zip(found, true, strict=True):
        _about(shares, share, 0.001)
    for f in runs(FORM):
        tally = f.changes.ensemble
        assert f.test.gain.difference.value == pytest.approx(
            (tally.formatted + tally.new - tally.lost) / SIZES[FORM].test
        )


def test_gains_that_are_form_alone_are_called_that_and_nothing_else(runs: Runs, tell: Tell) -> None:
    found, questions = [f.changes for f in runs(FORM_ALONE)], SIZES[FORM_ALONE].test
    formatted, planted = [c.ensemble.formatted / questions for c in found], 0.5 * (1 - FORM_ALONE.formed)
    other = sum(c.ensemble.new + c.ensemble.lost for c in found)
    tell(
        "form alone",
        f"of the vote: formatted (planted: {_percent([planted])}), and nothing else",
        f"{_percent([float(np.mean(formatted))])}, {other} questions of {RUNS * questions} new or lost",
    )
    assert other == 0
    _about(formatted, planted)
    assert {d.kind for c in found for d in c.differences} == {"formatted"}


def test_candidates_that_are_the_base_change_nothing(runs: Runs, tell: Tell) -> None:
    found = runs(SAME)
    tell("same", "nothing is gained or lost", f"in {sum(f.changes.differences == () for f in found)} of {RUNS} runs")
    for f in found:
        assert (f.test.gain.gained, f.test.gain.lost) == (0, 0)
        assert f.as_good == 1
        assert f.crossfit.gain.value == 0
        assert f.shrinkage.regression == 0
        assert f.changes.differences == ()
