"""Evolution strategies (Qiu et al. 2025) on the selection split: one model, found with as many as the search tried.

Same noise, engines and pool as the search. Knows nothing of members and votes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from thickets.baselines.base import HELD_OUT, Answer, Baseline, Setting, Spent, spent_on
from thickets.baselines.evolution import Ascent, as_settings, plan_ascent
from thickets.baselines.running import recorded_settings
from thickets.baselines.voting import answers_of
from thickets.config import RunConfig
from thickets.ensemble import SingleModel, terms_of
from thickets.ensemble.deciding import outcomes_of
from thickets.ensemble.file import Base, generation_of
from thickets.errors import RunError
from thickets.store import Run, write_atomically
from thickets.types import Blend, SplitName, Trial, TrialScore


class EvolutionStrategies(Baseline):
    """The centre of the ascent, which answers alone. Trials of the run's ledger `es` on selection are its models."""

    name: ClassVar[str] = "es"
    summary: ClassVar[str] = "One model by evolution strategies, with as many trials as the search (Qiu et al. 2025)."
    shares_steps: ClassVar[bool] = True

    def settings(self, config: RunConfig) -> Mapping[str, Any]:
        return as_settings(_ascent(config))

    def check(self, setting: Setting) -> None:
        """Raise `ConfigError` for a budget that is too small."""
        _ascent(setting.config)

    def planned(self, config: RunConfig) -> Mapping[SplitName, int]:
        return {"selection": _ascent(config).models, **dict.fromkeys(HELD_OUT, 1)}

    def title(self, run: Run) -> str:
        return "evolution strategies"

    def evaluate(self, setting: Setting) -> None:
        ascent = _ascent(setting.config)
        centre = self._climb(setting, ascent)
        if not centre.terms:
            setting.progress.say(
                f"es went nowhere: in none of its {ascent.iterations} populations did one model score better than "
                "another, so its model is the base"
            )
        # Before the last answer is recorded, after which nothing is done again; and then with the figures.
        self._write(setting, centre)
        for split in HELD_OUT:
            setting.evaluate(self.name, self.title(setting.run), split, [(ascent.models, centre)])
        self._write(setting, centre)

    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        questions, trials = len(run.examples(split)), run.ledger(self.name).trials(split)
        return answers_of(outcomes_of(trials, questions)[0]) if questions and trials else None

    def same_as(self, run: Run) -> str | None:
        """A centre that went nowhere is the base."""
        answered = [t for split in HELD_OUT for t in run.ledger(self.name).scores(split)]
        return "base" if answered and all(t.perturbation == Blend(()) for t in answered) else None

    def spent(self, run: Run) -> Spent:
        ledger = run.ledger(self.name)
        splits: tuple[SplitName, ...] = ("selection", *HELD_OUT)
        return spent_on(1, (t for split in splits for t in ledger.scores(split)))

    def details(self, run: Run) -> Mapping[str, Any]:
        """Its settings, and the mean reward of each population: whether it still rose when the budget was spent."""
        settings = recorded_settings(self.name, run)
        if settings is None:
            return {}
        rewards: dict[int, list[float]] = {}
        failed = 0
        for trial in run.ledger(self.name).scores("selection"):
            number = rewards.setdefault((trial.candidate or 0) // settings["population"], [])
            if trial.failure is None:
                number.append(trial.score)
            failed += trial.failure is not None
        means = [sum(scores) / len(scores) if scores else None for _, scores in sorted(rewards.items())]
        flat = sum(len(set(scores)) < 2 for scores in rewards.values())
        return settings | {"mean rewards": means, "failed models": failed, "populations without a difference": flat}

    def _climb(self, setting: Setting, ascent: Ascent) -> Blend:
        """The centre after the last step; only models that have no trial yet are evaluated."""
        progress, run = setting.progress, setting.run
        recorded = {t.candidate: t for t in run.ledger(self.name).scores("selection")}
        if len(recorded) < ascent.models:
            evaluator = setting.evaluator(self.name)
            progress.begin(f"{self.title(run)}, selection", ascent.models, len(recorded), None)
        centre = Blend(())
        for iteration in range(ascent.iterations):
            models, scores = ascent.around(centre, iteration), dict[int | None, float | None]()
            for number, point in models:
                # Taken out: thousands of models with thousands of terms each fill the memory.
                if (known := recorded.pop(number, None)) is not None:
                    _check_same(number, point, known)
                    scores[number] = _score(known)
            if len(scores) < len(models):
                for trial in evaluator.evaluate("selection", models):
                    scores[trial.candidate] = _score(trial)
                    progress.trial(trial)
            centre = ascent.advance(centre, iteration, [scores[number] for number, _ in models])
        progress.end()
        return centre

    def _write(self, setting: Setting, centre: Blend) -> None:
        """The model as a small file, which `thickets export` takes."""
        run, config = setting.run, setting.config
        found = ((split, self.answers(run, split)) for split in HELD_OUT)
        single = SingleModel(
            found_by=self.name,
            base=Base(model=config.model, fingerprint=run.meta("identity")["model"], dtype=run.meta("engine")["dtype"]),
            noise=config.search.noise,
            weights=config.weights,
            task=config.task,
            generation=generation_of(setting.sampling),
            settings=dict(self.settings(config)),
            results={
                split: {"questions": len(answers), "accuracy": sum(a.correct for a in answers) / len(answers)}
                for split, answers in found
                if answers
            },
            made_by={"thickets": (run.meta("versions") or {}).get("thickets", "unknown")},
            terms=terms_of(centre),
        )
        write_atomically(run.directory / f"{self.name}.json", single.to_json())


def _ascent(config: RunConfig) -> Ascent:
    return plan_ascent(config.baselines.es, config.search)


def _score(trial: Trial | TrialScore) -> float | None:
    return None if trial.failure is not None else trial.score


def _check_same(number: int, point: Blend, known: TrialScore) -> None:
    if known.perturbation != point:
        raise RunError(
            f"model {number} of es is recorded at another place ({known.perturbation}) than the ascent now proposes "
            f"({point}); go on with the version of thickets that began it"
        )
