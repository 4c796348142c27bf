"""Worlds whose truth is known: an engine that answers by chances laid down here, run through the real pipeline.

Every model is a role. On question q, with chances of its own (some questions are harder), the base is right or not;
candidates with the role `same` say what it says, those with `redrawn` draw anew with the same chances (their scores
differ by luck alone) or with chances that are better or worse by what they are worth, an `expert` also finds some of
what the base has not, a `worse` one loses some. A `formatter` knows what the base knows, finds and loses some, and
always writes it in the form that counts; the base does so only sometimes.

What is true in a world is worked out here without the code that is tested: by sums, or by drawing many questions.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from thickets import provenance, randopt
from thickets.analysis.summary import Summary, summarise
from thickets.baselines.kinds.self_consistency import SelfConsistency
from thickets.config import RunConfig, TaskConfig, parse
from thickets.engines import Engine, engine_classes
from thickets.randopt import execute
from thickets.store import Run
from thickets.tasks.base import Pools
from thickets.tasks.gsm8k import GSM8K
from thickets.types import Example, Generation, Judgement, Perturbation, Prompt, Sampling

Draws = npt.NDArray[np.float64]
# Answers that are wrong are one of so many, so that two members seldom give the same one.
WRONG = 5


@dataclass(frozen=True)
class Step:
    """Candidates of one sigma that are `redrawn` are worth so much on every question: normal with this mean and
    standard deviation, added to the base's chances.
    """

    sigma: float = 0.001
    worth: float = 0.0
    spread: float = 0.0

    def better(self, margin: float) -> float:
        """The share of those that are worth so much more than the base, or even more."""
        from scipy.stats import norm

        return float(norm.sf(margin, self.worth, self.spread))


@dataclass(frozen=True)
class World:
    """`others` are the roles of candidates that are no experts, and `density` the chance of being a `good` one."""

    density: float = 0.0
    good: str = "expert"
    others: str = "redrawn"
    # Of what the base has wrong (right), the share that an expert or formatter finds (that a worse one loses).
    finds: float = 0.3
    loses: float = 0.5
    # How often the base's right answer has the form that counts, and how far questions differ in their chances.
    formed: float = 1.0
    spread: float = 0.2
    # What a formatter loses of what the base has right.
    slips: float = 0.0
    # One for each sigma that candidates have.
    steps: tuple[Step, ...] = (Step(),)

    def role(self, perturbation: Perturbation | None) -> str:
        """Which role a model has: a function of its seed."""
        if perturbation is None:
            return "base"
        return self.good if _draws(perturbation.seed, 1)[0] < self.density else self.others

    def worth(self, perturbation: Perturbation | None) -> float:
        """What a redrawn model is worth: a function of its seed and sigma."""
        if perturbation is None:
            return 0.0
        step = next(s for s in self.steps if s.sigma == perturbation.sigma)
        random = np.random.Generator(np.random.PCG64([perturbation.seed, 3]))
        return step.worth + step.spread * float(random.standard_normal())


@dataclass(frozen=True)
class Drawn:
    """What is drawn once for a set of questions: each one's chance, and whether the base is right and formed."""

    chances: Draws
    base: npt.NDArray[np.bool_]
    formed: npt.NDArray[np.bool_]

    def of(self, questions: Sequence[int]) -> Drawn:
        """Some of the questions."""
        which = list(questions)
        return Drawn(self.chances[which], self.base[which], self.formed[which])


def draw(world: World, seed: int, questions: int) -> Drawn:
    """The questions of one run."""
    random = np.random.Generator(np.random.PCG64([seed, 7]))
    chances = _chances(world, random.standard_normal(questions))
    return Drawn(chances, random.random(questions) < chances, random.random(questions) < world.formed)


def _chances(world: World, normal: Draws) -> Draws:
    return np.clip(0.5 + world.spread * normal, 0.02, 0.98)


def knows(world: World, role: str, drawn: Drawn, own: Draws, worth: float = 0.0) -> npt.NDArray[np.bool_]:
    """Which questions a model of that role knows the answer to."""
    found: npt.NDArray[np.bool_]
    match role:
        case "base" | "same":
            found = drawn.base
        case "redrawn":
            found = own < drawn.chances + worth
        case "expert":
            found = drawn.base | (own < world.finds)
        case "worse":
            found = drawn.base & (own >= world.loses)
        case "formatter":
            found = np.where(drawn.base, own >= world.slips, own < world.finds)
        case _:
            raise ValueError(role)
    return found


class Synthetic(Engine):
    """Answers by the world that it is given as its model; each question's number stands in its prompt."""

    name: ClassVar[str] = "synthetic"
    summary: ClassVar[str] = "a world of the tests"
    fingerprint = "sha256:" + "0" * 64
    description: ClassVar[Mapping[str, Any]] = {"engine": "synthetic", "device": "cpu", "dtype": "float32"}
    factors: ClassVar[Mapping[str, float]] = {}

    def __init__(self, world: World, drawn: Drawn) -> None:
        self.world, self.drawn = world, drawn
        self._placed: Perturbation | None = None

    @classmethod
    def start(cls, config: RunConfig, model: Any = None, tokenizer: Any = None) -> Synthetic:
        return cls(*model)

    def place(self, perturbation: Perturbation | None) -> None:
        self._placed = perturbation

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        role, worth = self.world.role(self._placed), self.world.worth(self._placed)
        if sampling.temperature > 0:
            # Samples of the base: anew with the same chances.
            role, own = "redrawn", _draws(sampling.seed, 2, len(self.drawn.base))
        else:
            own = _draws(0 if self._placed is None else self._placed.seed, 2, len(self.drawn.base))
        known = knows(self.world, role, self.drawn, own[0], worth)
        formed = np.ones_like(known) if role == "formatter" else self.drawn.formed
        texts = [_text(n, *said) for n, said in enumerate(zip(known.tolist(), formed.tolist(), own[1], strict=True))]
        return [Generation(texts[number(p)], 5, 3, "eos") for p in prompts]

    def verify_base(self) -> None:
        """There are no weights."""


class Questions(GSM8K):
    """The real task, asked numbers: question n has the answer 1000 + n."""

    def pools(self) -> Pools:
        return Pools(_examples(self.config.size))

    def judge(self, example: Example, completion: str) -> Judgement:
        return _judged(number(example.prompt), completion)


@functools.cache
def _judged(question: int, completion: str) -> Judgement:
    """What the real task says of it; all models of all runs together give few different answers to one question."""
    return GSM8K(TaskConfig(name="gsm8k")).judge(_examples(question + 1)[question], completion)


@functools.cache
def _examples(count: int) -> tuple[Example, ...]:
    return tuple(Example(f"q{n}", f"question {n}", {"answer": str(1000 + n)}, str(n)) for n in range(count))


def number(prompt: Prompt) -> int:
    """Which question it asks."""
    assert isinstance(prompt, str)
    return int(prompt.removeprefix("question "))


def _text(n: int, known: bool, formed: bool, wrong: float) -> str:
    answer = 1000 + n if known else 1 + int(wrong * WRONG)
    # Who is wrong has passed through the right number, as calculations do.
    way = "" if known else f"Thus the total is {1000 + n} so far, and then it goes on.\n"
    # The form that does not count is that of a model which goes on: its last number is another one.
    return way + (f"#### {answer}" if formed else f"The answer is {answer}.\n\nQuestion: what is {n % 90}")


def _draws(seed: int, *shape: int) -> Draws:
    return np.random.Generator(np.random.PCG64(seed)).random(shape)


@contextmanager
def registered() -> Iterator[None]:
    """The engine can be asked for by name; reports are not drawn, and what is installed is read once: both take longer
    than these runs.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engine_classes(), "synthetic", Synthetic)
        patch.setattr(randopt, "finish", summarise)
        patch.setattr(provenance, "versions", functools.cache(provenance.versions))
        yield


@dataclass(frozen=True)
class Sizes:
    """Of one run."""

    population: int
    top_k: int
    selection: int
    validation: int
    test: int

    @property
    def questions(self) -> int:
        """All that are asked."""
        return self.selection + self.validation + self.test


@contextmanager
def made(world: World, seed: int, folder: Path, sizes: Sizes) -> Iterator[tuple[Summary, Run]]:
    """One whole run by `thickets.randopt.execute`, the path that the command takes, and then the run to read."""
    directory = folder / str(seed)
    config = parse(
        {
            "model": "world",
            "engine": {"name": "synthetic"},
            "task": {"name": "gsm8k", "chat": "plain"},
            "splits": {"selection": sizes.selection, "validation": sizes.validation, "test": sizes.test, "seed": seed},
            "search": {"population": sizes.population, "sigmas": [s.sigma for s in world.steps], "seed": seed},
            "ensemble": {"top_k": sizes.top_k},
            "baselines": {"names": [SelfConsistency.name]},
            "out": str(directory),
        }
    )
    task = Questions(TaskConfig(name="gsm8k", size=sizes.questions))
    summary = execute(config, model=(world, draw(world, seed, sizes.questions)), task=task)
    with Run.read(directory) as run:
        yield summary, run
    shutil.rmtree(directory)


@dataclass(frozen=True)
class Truth:
    """Shares of all the questions that there might be: what base and vote have right, and what becomes of the rest."""

    base: float
    vote: float
    formatted: float
    new: float
    lost: float

    @property
    def gain(self) -> float:
        """How much more often than the base the vote is right."""
        return self.vote - self.base


@functools.cache
def truth(world: World, roles: tuple[str, ...], questions: int = 200_000) -> Truth:
    """What the vote of members with these roles, best first, does, on so many questions; they are worth nothing."""
    drawn = draw(world, 987_654, questions)
    own = np.random.Generator(np.random.PCG64(123)).random((len(roles), 2, questions))
    known = np.array([knows(world, role, drawn, row[0]) for role, row in zip(roles, own, strict=True)])
    formed = np.array([np.ones(questions, np.bool_) if role == "formatter" else drawn.formed for role in roles])
    numbers = np.arange(questions)
    # As the task reads them: the answer where it is formed, else the last number of the text.
    keys = np.where(formed, np.where(known, 1000 + numbers, 1 + (own[:, 1] * WRONG).astype(np.int64)), numbers % 90)
    # Of the answers that most have given, that of the best member; `argmax` takes the first.
    winners = (keys[:, None] == keys).sum(axis=1).argmax(axis=0)
    vote, base = (known & formed)[winners, numbers], drawn.base & drawn.formed
    gained = vote & ~base
    shares = (base, vote, gained & drawn.base, gained & ~drawn.base, base & ~vote)
    return Truth(*(float(share.mean()) for share in shares))


def true_accuracy(world: World, worth: float, asked: Drawn | None = None) -> float:
    """How often a redrawn candidate that is worth so much is right, on any questions or on those that were asked."""
    chances, weights = _all_chances(world) if asked is None else (asked.chances, np.ones(len(asked.chances)))
    return float(np.average(np.clip(chances + worth, 0, 1), weights=weights))


def true_density(world: World, step: Step, margin: float, questions: int) -> float:
    """Pr[s(base + step) >= s(base) + margin] on so many questions, over candidates and questions: worked out.

    On each question a candidate gains one, loses one, or neither; the chances of sums are convolutions of these.
    """
    chances, often = _all_chances(world)
    worths, weights = _all_worths(step)
    right = np.clip(chances + worths[:, None], 0, 1)
    gains, losses = ((1 - chances) * right) @ often, (chances * (1 - right)) @ often
    reached = [_reaching(gain, loss, margin, questions) for gain, loss in zip(gains, losses, strict=True)]
    return float(np.dot(weights, reached))


def expert_density(world: World, margin: float, questions: int) -> float:
    """The same where a share of the candidates are experts, who only gain, and the others only lose: worked out."""
    chances, often = _all_chances(world)
    known = float(chances @ often)
    expert = _reaching((1 - known) * world.finds, 0.0, margin, questions)
    worse = _reaching(0.0, known * world.loses, margin, questions)
    return world.density * expert + (1 - world.density) * worse


def _reaching(gains: float, losses: float, margin: float, questions: int) -> float:
    """How likely the margin is reached where each question is gained and lost with these chances."""
    each = np.array([losses, 1 - gains - losses, gains])
    least = questions + _least(margin, questions)
    return float(functools.reduce(np.convolve, [each] * questions)[least:].sum())


def true_density_here(world: World, step: Step, margin: float, asked: Drawn) -> float:
    """The same over candidates alone: on these questions, beside what this base has right of them."""
    worths, weights = _all_worths(step)
    counts = np.zeros((len(worths), len(asked.chances) + 1))
    counts[:, 0] = 1.0
    # How many a candidate has right, question by question.
    for right in np.clip(asked.chances[:, None, None] + worths[:, None], 0, 1):
        one_more = counts[:, :-1] * right
        counts *= 1 - right
        counts[:, 1:] += one_more
    least = max(0, int(asked.base.sum()) + _least(margin, len(asked.base)))
    return float(np.dot(weights, counts[:, least:].sum(axis=1)))


def _least(margin: float, questions: int) -> int:
    """How many questions more reach the margin."""
    return math.ceil(margin * questions - 1e-6)


def _all_chances(world: World) -> tuple[Draws, Draws]:
    """The chances that questions have, and how often each."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return _chances(world, nodes), weights / weights.sum()


def _all_worths(step: Step) -> tuple[Draws, Draws]:
    """What candidates of a step are worth, and how often each."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    return step.worth + step.spread * nodes, weights / weights.sum()
