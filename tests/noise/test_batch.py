"""Many tensors at once are each what `place` makes of them; what `place` refuses is refused before anything moves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.noise.tensors import DTYPES, SCHEMES, bits, cut, weights
from thickets.errors import WeightsError
from thickets.noise import Batch, Region, Target, place

SHAPES: list[tuple[tuple[int, ...], Region | None]] = [
    ((64, 48), None),
    ((33, 7), None),
    ((576,), None),
    ((), None),
    ((0, 5), None),
    ((301, 70), Region((3, 290))),
    ((64, 256), Region((32, 64))),
    ((30, 70), Region((3, 29), (5, 63))),
    ((4, 5, 3), None),
]


def targets(device: str = "cpu", dtypes: tuple[torch.dtype, ...] = tuple(DTYPES)) -> list[Target]:
    """One of each shape and type, with live weights that are all 7."""
    made = []
    for dtype in dtypes:
        for i, (shape, region) in enumerate(SHAPES):
            base = cut(weights(shape, dtype), region).to(device)
            out = torch.full(base.shape, 7.0, dtype=dtype, device=device)
            made.append(Target(out, base, f"{i} of {dtype}", shape, region))
    return made


def check(batch: list[Target], scheme: str, seed: int, steps: list[float]) -> None:
    for target, step in zip(batch, steps, strict=True):
        base = target.base.cpu()
        want = torch.empty_like(base, memory_format=torch.contiguous_format)
        options = {"scheme": scheme, "seed": seed, "name": target.name, "step": step, "kernel": "reference"}
        place(want, base, shape=target.shape, region=target.region, **options)  # type: ignore[arg-type]
        assert torch.equal(bits(target.out.cpu()), bits(want)), (target.name, target.shape, target.region, step)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(seed=st.integers(0, 2**64 - 1), step=st.floats(-2, 2, width=32))
@settings(max_examples=10)
def test_each_tensor_is_what_place_makes_of_it(scheme: str, seed: int, step: float) -> None:
    made = targets()
    steps = [step * (i % 3) for i in range(len(made))]
    batch = Batch(made, scheme=scheme)
    batch.place(1, [0.5] * len(made))
    batch.place(seed, steps)
    check(made, scheme, seed, steps)


@pytest.mark.parametrize(("seed", "step", "said"), [(-1, 0.1, "noise seed -1"), (1, 1e39, "not a finite float32")])
def test_nothing_is_written_where_seed_or_step_cannot_be_used(seed: int, step: float, said: str) -> None:
    made = targets()
    batch = Batch(made, scheme="gaussian/1")
    with pytest.raises(WeightsError, match=said):
        batch.place(seed, [0.1] * (len(made) - 1) + [step])
    assert all((target.out == 7).all() for target in made)


def test_what_place_refuses_is_refused_by_name() -> None:
    shared = torch.zeros(4, 4)
    with pytest.raises(WeightsError, match=r"'b'.*shares memory with its base"):
        Batch([targets()[0], Target(shared, shared, "b")], scheme="gaussian/1")
    with pytest.raises(WeightsError, match=r"'b'.*the whole"):
        Batch([Target(shared, shared.clone(), "b", (4, 5))], scheme="gaussian/1")
    with pytest.raises(WeightsError, match="no noise scheme"):
        Batch(targets(), scheme="pink/1")
