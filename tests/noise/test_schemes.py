"""The registry, and the contract that every registered scheme keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.noise.tensors import bits
from thickets.errors import WeightsError
from thickets.noise import canonical_name, find_scheme, kernel_names, moves, numbers, place, scheme_names, schemes


def test_the_schemes_of_the_specification_are_there() -> None:
    assert scheme_names() == ("gaussian/1", "low_rank/1:8", "per_tensor_seed/1", "rademacher/1")
    assert kernel_names() == ("reference", "numba", "triton")


def test_names_are_canonical() -> None:
    assert canonical_name("low_rank/1") == "low_rank/1:8"
    assert canonical_name("low_rank/1:08") == "low_rank/1:8"
    assert canonical_name("gaussian/1") == "gaussian/1"
    for name in ("gaussian", "gaussian/2", "", "low_rank/1:", "low_rank/1:-1", "low_rank/1:4097", "low_rank/1:\u0664"):
        with pytest.raises(WeightsError, match="noise scheme"):
            canonical_name(name)


@pytest.mark.parametrize("name", scheme_names())
def test_every_scheme_keeps_the_contract(name: str) -> None:
    assert find_scheme(name).name == name
    assert find_scheme(name).label in schemes()
    assert type(find_scheme(name)).__doc__
    for shape in ((12,), (12, 7), (3, 4, 5)):
        noise = numbers(name, 3, "w", shape)
        assert noise.dtype == torch.float32
        assert noise.shape == torch.Size(shape)
        assert bool(noise.any()) == moves(name, len(shape))
        assert torch.equal(bits(noise), bits(numbers(name, 3, "w", shape)))
        base = torch.ones(shape)
        out = torch.zeros(shape)
        place(out, base, scheme=name, seed=3, name="w", step=0.5)
        assert torch.equal(out, base + 0.5 * noise)


def test_low_rank_moves_matrices_only() -> None:
    assert [moves("low_rank/1", ndim) for ndim in range(4)] == [False, False, True, False]
    assert all(moves("gaussian/1", ndim) for ndim in range(4))


def test_importing_is_cheap() -> None:
    script = (
        "import sys, thickets.noise as n; n.scheme_names(); n.moves('gaussian/1', 2);"
        "print([m for m in ('torch', 'numpy', 'numba', 'triton') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
