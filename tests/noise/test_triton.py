"""The CUDA kernel's logic without a GPU: Triton's interpreter runs it on CPU tensors, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from tests.noise.test_batch import check, targets
from thickets.noise import Batch, Region, numbers, place

def bits(tensor):
    return tensor.contiguous().view(torch.int32 if tensor.dtype == torch.float32 else torch.int16)

CASES = [
    ((9, 71), None),
    ((12, 71), Region((3, 9), (5, 63))),
    ((90, 33), Region((3, 80))),
    ((5001,), Region((5, 4999))),
    ((2**23, 1024), Region((2**22 - 1, 2**22 + 1), (7, 1000))),
    ((2**33, 128), Region((2**32 - 2, 2**32 + 1))),
]
for scheme in ("gaussian/1", "rademacher/1", "low_rank/1:5"):
    for shape, region in CASES:
        want, have = (numbers(scheme, 2**63 + 7, "w", shape, region, kernel=k) for k in ("reference", "triton"))
        assert torch.equal(bits(want), bits(have)), (scheme, shape, region)
        for dtype in (torch.bfloat16, torch.float16, torch.float32) if shape[0] < 100 else ():
            base = (torch.randn(want.shape, generator=torch.Generator().manual_seed(0)) * 0.02).to(dtype)
            wide = torch.zeros(*base.shape[:-1], base.shape[-1] + 5, dtype=dtype)
            out = torch.empty_like(base) if dtype == torch.float32 else wide[..., :-5]
            options = dict(scheme=scheme, seed=5, name="w", step=0.01, shape=shape, region=region)
            place(want := torch.empty_like(base), base, kernel="reference", **options)
            place(out, base, kernel="triton", **options)
            assert torch.equal(bits(want), bits(out)), (scheme, shape, region, dtype)
            assert not wide[..., -5:].any()
for scheme in ("gaussian/1", "rademacher/1", "low_rank/1:2"):
    made = targets()
    steps = [0.01 * (i % 3) for i in range(len(made))]
    batch = Batch(made, scheme=scheme, kernel="triton")
    # Of each of three types three that one launch takes: unbroken, begun at a block, of a length that memory likes.
    assert scheme.startswith("low_rank") or [len(group.taken) for _, group in batch._groups] == [9], scheme
    batch.place(2**63 + 7, steps)
    check(made, scheme, 2**63 + 7, steps)
special = torch.tensor([float("nan"), float("inf"), -float("inf"), 3.3e38, -0.0, 1e-40]).to(torch.bfloat16)
options = dict(scheme="rademacher/1", seed=1, name="w", step=3e38)
place(out := torch.empty_like(special), special, kernel="triton", **options)
place(want := torch.empty_like(special), special, kernel="reference", **options)
assert out[0].isnan()
assert torch.equal(bits(want)[1:], bits(out)[1:])
print("all equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_interpreted_kernel_equals_the_reference_bit_for_bit() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ran = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300)
    assert ran.stdout.strip() == "all equal", ran.stderr
