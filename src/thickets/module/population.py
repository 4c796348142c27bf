"""Perturbed parameters of a module, many candidates in one buffer. Writes to no module, knows no score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from thickets.config import WeightsConfig
from thickets.errors import ModelError, WeightsError
from thickets.noise import canonical_name, moves, place_stack
from thickets.types import Perturbation
from thickets.weights import (
    canonical_tensors,
    check_steps,
    fingerprint,
    moving,
    scale_factors,
    tensor_kinds,
    why_it_stays,
)

if TYPE_CHECKING:
    import torch


class Population:
    """The candidates around a module's parameters. `scheme` is the noise scheme, `config` the scope and scale rule.

    `stays` is a sentence on parameters in the scope whose number type cannot move, `None` where there are none.

    Raises `WeightsError` for a module without floating-point parameters, or none in the scope that can move.
    """

    def __init__(self, module: torch.nn.Module, scheme: str, config: WeightsConfig) -> None:
        if not any(p.is_floating_point() or p.is_complex() for p in module.parameters()):
            raise WeightsError(
                f"the module {type(module).__name__} has no floating-point parameters, so there is nothing to "
                "perturb; give one whose weights are nn.Parameters"
            )
        self.tensors = canonical_tensors(module)
        self.stays = fixed_by_type(self.tensors, config)
        names = moving(self.tensors, config.include, config.exclude)
        self.scheme = canonical_name(scheme)
        if not any(moves(self.scheme, self.tensors[name].ndim) and self.tensors[name].numel() for name in names):
            raise WeightsError(
                f"noise {self.scheme} moves none of the parameters in the scope, such as {names[0]} of shape "
                f"{list(self.tensors[names[0]].shape)}; take another scheme (gaussian/1), or another scope"
            )
        self.base = {name: self.tensors[name].detach().contiguous() for name in names}
        self.factors = scale_factors(self.tensors, names, tensor_kinds(module), scheme, config)
        self.fingerprint = fingerprint(self.tensors)
        # Of one candidate.
        self.bytes = sum(t.numel() * t.element_size() for t in self.base.values())

    def check(self, sigmas: Sequence[float]) -> None:
        """Raise `WeightsError` for a sigma whose step no weight can take."""
        check_steps(sigmas, self.factors)

    def stack(
        self, perturbations: Sequence[Perturbation | None], dtype: torch.dtype | None = None
    ) -> dict[str, torch.Tensor]:
        """The parameters that move, by name, `[candidates, *shape]`; `None` is the base.

        `dtype` rounds float32 ones once more.
        """
        import torch

        seeds = [0 if p is None else p.seed for p in perturbations]
        stacks = {}
        for name, base in self.base.items():
            factor = self.factors[name]
            steps = [0.0 if p is None else p.sign * p.sigma * factor for p in perturbations]
            kind = dtype if dtype is not None and base.dtype == torch.float32 else base.dtype
            stack = torch.empty(len(seeds), *base.shape, dtype=kind, device=base.device)
            place_stack(stack, base, scheme=self.scheme, seeds=seeds, name=name, steps=steps)
            stacks[name] = stack
        return stacks

    def verify(self) -> None:
        """Check that the module is what it was, bit for bit. Raises `ModelError`."""
        if fingerprint(self.tensors) != self.fingerprint:
            raise ModelError(
                "the module's own weights or buffers changed during the search: something in the score writes to them, "
                "so candidates were not compared around one base; leave the module as it is while scoring"
            )


def fixed_by_type(tensors: Mapping[str, torch.Tensor], config: WeightsConfig) -> str | None:
    """A sentence on the parameters in the scope that stay for their number type. Raises `WeightsError` if all do."""
    import torch

    meant = {}
    for name, tensor in tensors.items():
        # A stand-in of a type that moves says whether the scope has the name.
        named = why_it_stays(name, torch.nn.Parameter(torch.empty(0)), config.include, config.exclude) is None
        if named and isinstance(tensor, torch.nn.Parameter):
            meant[name] = tensor
    fixed = {n: t for n, t in meant.items() if why_it_stays(n, t, config.include, config.exclude) is not None}
    if not fixed:
        return None
    types = " and ".join(sorted({str(t.dtype).removeprefix("torch.") for t in fixed.values()}))
    mend = "call module.float()"
    if not all(t.is_floating_point() for t in fixed.values()):
        mend = "only float32, bfloat16 and float16 ones do"
    if len(fixed) == len(meant):
        raise WeightsError(f"parameters of type {types} do not move; {mend}")
    some = ", ".join(list(fixed)[:3]) + (f" and {len(fixed) - 3} more" if len(fixed) > 3 else "")
    return f"parameters of type {types} do not move, so {some} stay as they are; {mend}"
