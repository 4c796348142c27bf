"""The best of several prompts: each is tried on the selection split, and the base answers with the winner.

It spends a handful of passes on what RandOpt searches thousands of candidates for. Knows nothing of perturbations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from thickets.baselines.base import HELD_OUT, Answer, Baseline, Setting, Spent, spent_on
from thickets.baselines.phrasing import Phrasing, check_columns, phrasings
from thickets.baselines.running import recorded_settings
from thickets.baselines.voting import answers_of
from thickets.config import RunConfig
from thickets.ensemble.deciding import outcomes_of
from thickets.errors import EngineError
from thickets.searching.loop import rank
from thickets.store import Run
from thickets.types import Example, Prompt, Sampling, SplitName, Trial, TrialScore

# What cannot be asked of this model: names of phrasings with reasons, settled before the first is tried.
_LEFT_OUT = "best_prompt left out"
# The task's own prompt, under which the base has its trials from the search.
_OWN = 0


class BestPrompt(Baseline):
    """The highest mean reward wins, then the highest accuracy, then the earlier prompt: the order of candidates.

    Numbers in the ledger are those of phrasings. The task's own prompt is not asked again.
    """

    name: ClassVar[str] = "best_prompt"
    summary: ClassVar[str] = "The base with the best of several prompts, chosen on the selection split as members are."
    default: ClassVar[bool] = True

    def settings(self, config: RunConfig) -> Mapping[str, Any]:
        ways = phrasings(config.baselines.templates)
        return {"prompts": [w.name for w in ways], "templates": [w.template for w in ways if w.template is not None]}

    def check(self, setting: Setting) -> None:
        ways = phrasings(setting.config.baselines.templates)
        for way in ways:
            check_columns(way, [e for examples in setting.splits.values() for e in examples], setting.task)

    def planned(self, config: RunConfig) -> Mapping[SplitName, int]:
        return {"selection": len(phrasings(config.baselines.templates)) - 1, **dict.fromkeys(HELD_OUT, 1)}

    def title(self, run: Run) -> str:
        return f"best of {len(_names(run)) - len(_left_out(run))} prompts" if _names(run) else "best prompt"

    def evaluate(self, setting: Setting) -> None:
        run, ways = setting.run, phrasings(setting.config.baselines.templates)
        if not run.ledger(self.name).recorded("selection"):
            # Until one has been tried, templates may still be other than when this was last looked at.
            run.set_meta(_LEFT_OUT, _refused(setting, ways))
        prompts: dict[tuple[SplitName, int], list[Prompt]] = {}

        def asking(split: SplitName, number: int | None) -> tuple[Sequence[Prompt], Sampling]:
            # Made once and kept: engines may share a list of prompts by its identity.
            key = (split, number or _OWN)
            if key not in prompts:
                prompts[key] = [ways[key[1]].put(e) for e in setting.splits[split]]
            return prompts[key], setting.sampling

        tried = [(n, None) for n, way in enumerate(ways) if n != _OWN and way.name not in _left_out(run)]
        setting.evaluate(self.name, "prompts", "selection", tried, asking)
        winner = _winner(run)
        for split in HELD_OUT:
            if winner is not None and winner != _OWN:
                setting.evaluate(self.name, self.title(run), split, [(winner, None)], asking)

    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        questions = len(run.examples(split))
        found = _winning_trials(run, split)
        return answers_of(outcomes_of(found, questions)[0]) if questions and found else None

    def same_as(self, run: Run) -> str | None:
        """Where the task's own prompt won, its answers are the base's."""
        return "base" if _winner(run) == _OWN else None

    def spent(self, run: Run) -> Spent:
        held_out = [t.in_short() for split in HELD_OUT for t in _winning_trials(run, split)]
        return spent_on(1, [*_scores(run), *held_out])

    def details(self, run: Run) -> Mapping[str, Any]:
        settings = recorded_settings(self.name, run) or {}
        names, winner = _names(run), _winner(run)
        scores = {names[t.candidate]: t.score for t in _scores(run) if t.candidate is not None and t.failure is None}
        return {
            "chosen": None if winner is None else names[winner],
            "score on selection": scores,
            "templates": settings.get("templates", []),
            "left out": _left_out(run),
        }


def _refused(setting: Setting, ways: Sequence[Phrasing]) -> dict[str, str]:
    """The ways to ask that this model cannot be asked in: its template knows no system turn, or it is too long."""
    everything: list[Example] = [e for examples in setting.splits.values() for e in examples]
    # What fails here already is no matter of the phrasing.
    setting.pool.check([e.prompt for e in everything], setting.sampling)
    reasons = {}
    for way in ways[_OWN + 1 :]:
        try:
            setting.pool.check([way.put(e) for e in everything], setting.sampling)
        except EngineError as error:
            reasons[way.name] = str(error)
            setting.progress.say(f"the prompt {way.name!r} is left out: {error}")
    return reasons


def _left_out(run: Run) -> dict[str, str]:
    return dict(run.meta(_LEFT_OUT) or {})


def _names(run: Run) -> list[str]:
    settings = recorded_settings(BestPrompt.name, run)
    return [] if settings is None else list(settings["prompts"])


def _scores(run: Run) -> list[TrialScore]:
    """Every prompt's trial on selection under its number; the task's own is that of the base."""
    # The base's trial alone: the search beside it has thousands.
    own = [replace(t.in_short(), candidate=_OWN) for t in run.trials("selection", [None])]
    return [*own, *run.ledger(BestPrompt.name).scores("selection")]


def _winner(run: Run) -> int | None:
    """The number of the best prompt; `None` until all that can be asked have been tried."""
    names = _names(run)
    if not names:
        return None
    scores = _scores(run)
    if len(scores) < len(names) - len(_left_out(run)):
        return None
    return rank(scores)[0].candidate


def _winning_trials(run: Run, split: SplitName) -> list[Trial]:
    winner = _winner(run)
    if winner is None:
        return []
    return run.trials(split, [None]) if winner == _OWN else run.ledger(BestPrompt.name).trials(split, [winner])
