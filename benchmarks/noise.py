"""How fast weights move: the released code's perturb and restore, our placing, and a plain copy of the same bytes.

    python benchmarks/noise.py --json noise.json

Works on random weights of SmolLM2-135M's shapes; downloads nothing. Knows nothing of models or engines.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from common import medians, seconds_in_turn, write

if TYPE_CHECKING:
    import torch

# SmolLM2-135M, a Llama with tied embeddings.
VOCABULARY, HIDDEN, INTERMEDIATE, LAYERS, HEADS, KEY_HEADS, HEAD_SIZE = 49152, 576, 1536, 30, 9, 3, 64

SEED, SIGMA = 12345, 1e-3


def shapes() -> dict[str, tuple[int, ...]]:
    """The Hugging Face names and shapes of the model's tensors."""
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (HEADS * HEAD_SIZE, HIDDEN),
        "self_attn.k_proj.weight": (KEY_HEADS * HEAD_SIZE, HIDDEN),
        "self_attn.v_proj.weight": (KEY_HEADS * HEAD_SIZE, HIDDEN),
        "self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD_SIZE),
        "mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
        "mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
        "input_layernorm.weight": (HIDDEN,),
        "post_attention_layernorm.weight": (HIDDEN,),
    }
    layers = {f"model.layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    return {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), **layers, "model.norm.weight": (HIDDEN,)}


def release_switch(weights: dict[str, torch.Tensor]) -> None:
    """Perturb and restore as the released code does: the same noise drawn twice, added and taken away."""
    import torch

    for sign in (1, -1):
        for tensor in weights.values():
            generator = torch.Generator(device=tensor.device).manual_seed(SEED)
            noise = torch.randn(tensor.shape, dtype=tensor.dtype, device=tensor.device, generator=generator)
            tensor.add_(sign * SIGMA * noise)


def placing(weights: dict[str, torch.Tensor], base: dict[str, torch.Tensor], scheme: str) -> Callable[[], None]:
    """A switch as engines make it. Restoring is not a step of its own: the next switch starts at the base."""
    from thickets.noise import Batch, Target

    batch = Batch([Target(tensor, base[name], name) for name, tensor in weights.items()], scheme=scheme)
    steps = [SIGMA] * len(weights)
    return lambda: batch.place(SEED, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write machine and figures here")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that the medians are taken over")
    parser.add_argument("--threads", type=int, help="torch's threads, ours too; 1 tells most on a busy machine")
    options = parser.parse_args()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)

    generator = torch.Generator().manual_seed(0)
    base = {
        name: (torch.randn(shape, generator=generator) * 0.02).to(options.device, torch.bfloat16)
        for name, shape in shapes().items()
    }
    weights = {name: tensor.clone() for name, tensor in base.items()}

    def copy() -> None:
        for name, tensor in weights.items():
            tensor.copy_(base[name])

    work = {
        "release": lambda: release_switch(weights),
        "gaussian": placing(weights, base, "gaussian/1"),
        "rademacher": placing(weights, base, "rademacher/1"),
        "copy": copy,
    }
    on_gpu = torch.device(options.device).type == "cuda"
    times = medians(seconds_in_turn(work, options.rounds, torch.cuda.synchronize if on_gpu else lambda: None))
    count = sum(tensor.numel() for tensor in base.values())
    print(f"{count / 1e6:.1f} million bfloat16 weights in {len(base)} tensors on {options.device}")
    print(f"{'':12}{'ms/switch':>12}{'million/s':>12}{'x release':>12}{'x copy':>12}")
    for name, seconds in times.items():
        rates = f"{times['release'] / seconds:12.2f}{times['copy'] / seconds:12.3f}"
        print(f"{name:12}{seconds * 1e3:12.2f}{count / seconds / 1e6:12.0f}{rates}")
    write(
        options.json,
        "noise",
        {
            f"{ours}_vs_{other}": times[other] / times[ours]
            for other in ("release", "copy")
            for ours in ("gaussian", "rademacher")
        },
    )


if __name__ == "__main__":
    main()
