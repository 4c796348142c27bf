"""Finds the best candidates without scoring all of them in full. Knows nothing of modules: it asks for scores.

Successive halving (Jamieson & Talwalkar 2016) with a test instead of a fixed share: on part of the examples, and in
bfloat16 where the score can be had in it, a candidate is dropped only if the one ranked K-th beats it by `Z` standard
errors of their paired difference (Maron & Moore 1993, "Hoeffding races"). Who is left is settled in full and in the
module's own number type, from the best down, until the next one would have to be wrong by `Z` times as much as those
before it were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thickets.errors import EngineError, RewardUnavailable, TaskError
from thickets.module import batch as batches
from thickets.module.running import brief
from thickets.module.scoring import Scorer
from thickets.types import Perturbation

if TYPE_CHECKING:
    import torch

Z = 4.0
# Examples of the first look, and how many times more there are in the next.
FIRST, GROWTH = 16, 4


@dataclass
class Scores:
    """Of every candidate: its mean score so far, on how many examples, and whether that is the score in full."""

    mean: torch.Tensor
    examples: torch.Tensor
    settled: torch.Tensor


def in_full(scorer: Scorer, candidates: Sequence[Perturbation], heard: Callable[[int], None]) -> Scores:
    """Every candidate on all examples, in the module's own number type."""
    import torch

    means = scorer.table(candidates, heard=heard).mean(1)
    count = torch.full((len(candidates),), scorer.examples or 1)
    return Scores(means, count, torch.ones(len(candidates), dtype=torch.bool))


def screened(scorer: Scorer, candidates: Sequence[Perturbation], top_k: int, heard: Callable[[int], None]) -> Scores:
    """The `top_k` best with their full scores; the others as far as they came."""
    import torch

    total = scorer.examples or 1
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    parted = scorer.per_example and total >= 2 * FIRST
    # Examples often stand in some order; a part must be a sample of the whole.
    data = batches.changed(scorer.data, lambda t: t[order.to(t.device)]) if parted else scorer.data
    looks = _looks(total) if parted else [total]
    first = batches.rows(data, 0, looks[0]) if parted else data
    if parted:
        _check_rows(scorer, first, looks[0])
    dtype = _number_type(scorer, candidates, first)
    found = Scores(
        torch.full((len(candidates),), float("nan")),
        torch.zeros(len(candidates), dtype=torch.long),
        torch.zeros(len(candidates), dtype=torch.bool),
    )
    alive, table, seen, rounding = torch.arange(len(candidates)), torch.empty(len(candidates), 0), 0, 0.0
    for size in looks:
        some = batches.rows(data, seen, size) if parted else data
        looked_at = [candidates[i] for i in alive.tolist()]
        more = _look(scorer, looked_at, some, dtype)
        if parted and not seen and dtype is not None:
            rounding = _rounding(scorer, looked_at, more, some, top_k)
        table, seen = torch.cat([table, more], 1), size
        found.mean[alive], found.examples[alive] = table.mean(1), seen
        stay = _still_possible(table, top_k, rounding) if parted else torch.isfinite(found.mean[alive])
        heard(int((~stay).sum()))
        alive, table = alive[stay], table[stay]
        if len(alive) <= 2 * top_k:
            break
    _settle(scorer, candidates, alive, found, top_k, rounding, heard)
    return found


def _check_rows(scorer: Scorer, some: Any, count: int) -> None:
    """Raise `TaskError` where the base cannot be scored on part of the rows."""

    try:
        (values,) = scorer.runner.run([None], some)
    except (EngineError, RewardUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        fault = f"it raises {type(error).__name__}: {brief(error)}"
    else:
        if list(values.shape) == [1, count]:
            return
        fault = f"it gives shape {list(values.shape[1:])}"
    raise TaskError(
        f"of {count} rows of the data alone there is no score ({fault}), so rows are not examples each on its own, as "
        "screening takes them; search with screen=False"
    )


def _number_type(scorer: Scorer, candidates: Sequence[Perturbation], some: Any) -> torch.dtype | None:
    """bfloat16, or the module's own type (`None`) where the score cannot be had in bfloat16, which is said."""
    import torch

    tried = [None, *candidates[:2]]
    trouble = _trouble(scorer, tried, some)
    if trouble is not None:
        # Is it bfloat16's? Not where they fail in the module's own type as well.
        own = torch.isfinite(scorer.table(tried, some)).all(1).tolist()
        trouble = (
            trouble if all(own) else _trouble(scorer, [p for p, good in zip(tried, own, strict=True) if good], some)
        )
    if trouble is None:
        return torch.bfloat16
    scorer.say(f"screening in the module's own number type, because the score cannot be had in bfloat16: {trouble}")
    return None


def _trouble(scorer: Scorer, tried: Sequence[Perturbation | None], some: Any) -> str | None:
    """What is wrong with scores in bfloat16; `None` where nothing is."""
    import torch

    try:
        values = list(scorer.runner.run(tried, some, torch.bfloat16))
    except (EngineError, RewardUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        return f"{type(error).__name__}: {brief(error)}"
    return None if all(bool(torch.isfinite(v).all()) for v in values) else "there it is not finite"


def _look(scorer: Scorer, candidates: Sequence[Perturbation], some: Any, dtype: torch.dtype | None) -> torch.Tensor:
    """Scores `[candidates, examples]`; those that are not finite in `dtype` are the module's own type's."""
    import torch

    table = scorer.table(candidates, some, dtype)
    lost = (~torch.isfinite(table).all(1)).nonzero().flatten().tolist()
    if lost and dtype is not None:
        table[lost] = scorer.table([candidates[i] for i in lost], some)
    return table


def _looks(total: int) -> list[int]:
    """How many examples have been seen after each look; the last is at most half of them, as the rest is settled."""
    looks, size = [], FIRST
    while size <= total // 2:
        looks.append(size)
        size *= GROWTH
    return looks


def _rounding(scorer: Scorer, candidates: Sequence[Perturbation], table: torch.Tensor, some: Any, top_k: int) -> float:
    """How far the best means of `table`, of scores in bfloat16, are from those in the module's own numbers: the spread.

    Examples that are all alike say nothing about it. More of them can only make it less, so one look is enough. Scores
    that are equal in bfloat16 do not show all of it, so it is at least half a step of that type.
    """
    import torch

    means = table.mean(1).nan_to_num(nan=-torch.inf, posinf=-torch.inf)
    best = means.argsort(descending=True, stable=True)[: max(2 * top_k, 8)]
    wrong = means[best] - scorer.table([candidates[i] for i in best.tolist()], some).mean(1)
    wrong = wrong[torch.isfinite(wrong)]
    least = float(means[best[0]].abs()) * torch.finfo(torch.bfloat16).eps / 2
    return max(least, float(wrong.std())) if len(wrong) > 1 else least


def _still_possible(table: torch.Tensor, top_k: int, rounding: float) -> torch.Tensor:
    """Which rows of scores `[candidates, examples]` are not clearly worse than the one ranked K-th.

    `rounding` is the standard deviation of what the number type does to a mean. What it does to single examples shows
    in their differences as well, so the larger of the two is what counts.
    """
    import torch

    means = table.mean(1).nan_to_num(nan=-torch.inf, posinf=-torch.inf)
    if len(means) <= 2 * top_k:
        return torch.isfinite(means)
    ranked = means.argsort(descending=True, stable=True)
    difference = table - table[ranked[top_k - 1]]
    error = (difference.std(1) / table.shape[1] ** 0.5).clamp(min=rounding)
    stay: torch.Tensor = difference.mean(1) + Z * error >= 0
    # So many at least, that how wrong a screening score is can be told from them.
    stay[ranked[: 2 * top_k]] = True
    return stay.logical_and_(torch.isfinite(means))


def _settle(
    scorer: Scorer,
    candidates: Sequence[Perturbation],
    alive: torch.Tensor,
    found: Scores,
    top_k: int,
    rounding: float,
    heard: Callable[[int], None],
) -> None:
    import torch

    rough = found.mean[alive]
    ranked = alive[rough.argsort(descending=True, stable=True)]
    rough = found.mean[ranked].clone()
    done = 0
    while done < len(ranked):
        if done >= 2 * top_k:
            settled = found.mean[ranked[:done]]
            sound = torch.isfinite(settled)
            wrong = (settled - rough[:done])[sound]
            best = settled[sound].sort(descending=True).values
            # The first were chosen by scores in bfloat16, often equal ones, and then differ less in how wrong they are.
            spread = max(float(wrong.std()), rounding)
            if len(best) >= top_k and rough[done] + wrong.mean() + Z * spread < best[top_k - 1]:
                break
        last = min(len(ranked), done + top_k if done else 2 * top_k)
        rows = ranked[done:last]
        found.mean[rows] = scorer.table([candidates[i] for i in rows.tolist()], heard=heard).mean(1)
        found.examples[rows], found.settled[rows] = scorer.examples or 1, torch.tensor(True)
        done = last
    heard(len(ranked) - done)
