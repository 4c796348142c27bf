"""The map of a plane: by how much its colours, differences to the base on the same questions, move by luck alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.evidence.recorded import make_run
from thickets.analysis.landscape import LandscapeFigures, Plane, blend, landscape_figures
from thickets.report.landscape import render
from thickets.store import Run
from thickets.types import Judgement, Outcome, Perturbation, Trial

STEPS = (Perturbation(0, 0.001), Perturbation(1, 0.001))


def recorded(directory: Path, base: Sequence[float], members: Sequence[Sequence[float]], others: float) -> Run:
    """A plane of three by three on these rewards of the base and both members; all other points answer alike."""
    questions = len(base)
    models = {None: base} | dict(enumerate(members))
    answers = {who: [(r, r > 0.5, str(r)) for r in rewards] for who, rewards in models.items()}
    run = make_run(directory, {"selection": answers}, [0, 1])
    plane = Plane((1, 2), (0, 1), "selection", 3, 1.0, questions)
    outcomes = (Outcome(Judgement(others, others > 0.5, str(others)), 1, 1, "eos"),) * questions
    for number, a, b in plane.points():
        if (a, b) not in ((0, 0), (1, 0), (0, 1)):
            run.ledger(plane.ledger).record(Trial("selection", number, blend(STEPS, a, b), outcomes), True)
    return run


def one_map(run: Run, questions: int) -> LandscapeFigures:
    with run:
        (found,) = landscape_figures(run, Plane((1, 2), (0, 1), "selection", 3, 1.0, questions))
    return found


def test_the_yardstick_is_that_of_what_is_drawn_a_difference_on_the_same_questions(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    base = (random.random(50) < 0.5).astype(float)
    # Right and wrong with the base on all questions but two.
    first, second = base.copy(), base.copy()
    first[:2], second[:5] = 1 - base[:2], 1 - base[:5]
    found = one_map(recorded(tmp_path / "run", base.tolist(), [first.tolist(), second.tolist()], 0.0), 50)
    assert found.complete
    by_hand = [1.96 * float(np.std(m - base, ddof=1)) / 50**0.5 for m in (first, second, np.zeros(50))]
    assert [found.members[0].luck, found.members[1].luck] == pytest.approx(by_hand[:2])
    at = {(s.a, s.b): s.luck for s in found.spots}
    assert at[1, 0] == pytest.approx(by_hand[0])
    assert at[0, 0] == 0
    others = [luck for place, luck in at.items() if place not in ((0, 0), (1, 0), (0, 1))]
    assert others == pytest.approx([by_hand[2]] * 6)
    assert found.luck == pytest.approx((by_hand[2], by_hand[2]))
    (figure,) = render([found])
    assert f"moves by about {by_hand[2]:.3f} either way" in figure.caption


def test_a_base_that_has_nothing_right_is_no_certainty(tmp_path: Path) -> None:
    found = one_map(recorded(tmp_path / "run", [0.0] * 50, [[1.0] + [0.0] * 49, [0.0] * 50], 0.0), 50)
    (figure,) = render([found])
    assert found.luck is not None
    assert found.luck[0] == pytest.approx(1.96 * (0.02 * 0.98 * 50 / 49 / 50) ** 0.5)
    assert "about 0.000" not in figure.caption


@pytest.mark.parametrize("base", [[1.0], [0.0] * 50])
def test_from_one_question_or_without_any_difference_it_cannot_be_told(base: list[float], tmp_path: Path) -> None:
    (figure,) = render([one_map(recorded(tmp_path / "run", base, [base, base], base[0]), len(base))])
    assert "cannot be told" in figure.caption
    assert "moves by about" not in figure.caption
