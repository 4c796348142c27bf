"""What a switch of weights costs beside the answers it is made for: the `hf` engine, random weights, real shapes.

    python benchmarks/switching.py --shape qwen2.5-1.5b --shape qwen2.5-7b --json switching.json

Models are built from their published shapes, so nothing is downloaded; what they answer is noise, and always
`--new-tokens` long. Timed in turn in one process: a plain copy of the weights, the switch under each noise with the
pristine copy on the device, and one candidate's answers. Where there is a GPU, also with the copy in host memory.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import machine, medians, seconds_in_turn, write
from rich.console import Console
from rich.table import Table

from thickets.config import parse
from thickets.engines.hf import HuggingFaceEngine
from thickets.types import Perturbation, Sampling
from thickets.weights import Placer

# As their config.json files say: class, then what differs from the class's own values.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "smollm2-135m": (
        "Llama",
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49152,
            "tie_word_embeddings": True,
        },
    ),
    "qwen2.5-1.5b": (
        "Qwen2",
        {
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
        },
    ),
    "qwen2.5-7b": (
        "Qwen2",
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
            "tie_word_embeddings": False,
        },
    ),
}
NOISE = ("gaussian/1", "rademacher/1")


def build(shape: str, device: str) -> Any:
    """The model with random bfloat16 weights, made where it will be."""
    import torch
    import transformers

    kind, settings = SHAPES[shape]
    model = getattr(transformers, f"{kind}ForCausalLM")
    with torch.device(device):
        # No token ends an answer.
        config = model.config_class(**settings, eos_token_id=None, bos_token_id=None, pad_token_id=None)
        return model._from_config(config, dtype=torch.bfloat16).eval()


def build_tokenizer() -> Any:
    """One that is never asked anything: prompts are given as tokens."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")), pad_token="?")


def engine_of(model: Any, noise: str, where: str) -> HuggingFaceEngine:
    settings = {"model": "random", "search": {"noise": noise}, "engine": {"base": where}}
    return HuggingFaceEngine(model, build_tokenizer(), parse(settings))


def measure(shape: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of each piece of work, by name."""
    import torch

    gpu = torch.cuda.is_available()
    model = build(shape, "cuda" if gpu else "cpu")
    rng = torch.Generator().manual_seed(0)
    prompts = torch.randint(100, 40_000, (options.questions, options.prompt_tokens), generator=rng).tolist()
    seconds: dict[str, float] = {}
    for where in ("device", "host") if gpu else ("device",):
        engine = engine_of(model, NOISE[0], where)
        base = engine.base

        def copy(base: Any = base) -> None:
            for name, pristine in base.pristine.items():
                base.live[name].detach().copy_(pristine)

        def switch(noise: str, engine: Any = engine, base: Any = base) -> Callable[[], None]:
            placer = Placer(noise)

            def once() -> None:
                base.placer = placer
                engine.place(Perturbation(1, 1e-3))

            return once

        work: dict[str, Callable[[], None]] = {f"{noise}, {where}": switch(noise) for noise in NOISE}
        work[f"copy, {where}"] = copy
        if where == "device":
            work["answers"] = lambda e=engine: e.decoder.decode(prompts, Sampling(options.new_tokens)) and None
        seconds |= medians(seconds_in_turn(work, options.rounds, torch.cuda.synchronize if gpu else lambda: None))
        engine.verify_base()
        del engine, base, copy, switch, work
        gc.collect()
        if gpu:
            torch.cuda.empty_cache()
    seconds["weights"] = sum(p.numel() for p in model.parameters())
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="may be given several times")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = Table("model", "work", "ms", "GB/s", "x copy", "share of a candidate")
    figures: dict[str, float] = {}
    for shape in options.shape or ["smollm2-135m"]:
        seconds = measure(shape, options)
        weights, answers = seconds.pop("weights"), seconds["answers"]
        for name, taken in seconds.items():
            where = name.rpartition(", ")[2]
            row = [shape, name, f"{taken * 1e3:,.1f}"]
            if name != "answers":
                # Read once and written once, two bytes each.
                ratio, share = seconds[f"copy, {where}"] / taken, taken / (taken + answers)
                row += [f"{4 * weights / taken / 1e9:,.0f}", f"{ratio:.2f}", f"{share:.2%}"]
                if not name.startswith("copy"):
                    key = f"{name.partition('/')[0]}_{where}_{shape}"
                    figures |= {f"{key}_vs_copy": ratio, f"{key}_share": share}
            table.add_row(*row)
        tokens = options.questions * (options.prompt_tokens + options.new_tokens)
        figures[f"tokens_per_second_{shape}"] = tokens / answers
        figures[f"new_tokens_per_second_{shape}"] = options.questions * options.new_tokens / answers
    Console().print(table)
    for name, value in figures.items():
        print(f"{name:48}{value:12.4g}")
    write(options.json, "switching", figures)
    print(
        f"{options.questions} questions of {options.prompt_tokens} tokens, {options.new_tokens} new ones; {machine()}"
    )


if __name__ == "__main__":
    main()
