"""Tiny real models and a tokenizer, built here: two layers, hidden size 32, every byte a token; no downloads."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

os.environ["HF_HUB_OFFLINE"] = "1"
# Begun in the background of a script a process ignores Ctrl-C, and with it all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Tiny models gain nothing from several threads, and tests that start processes would fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Inherited by every process that tests start, so that those of another session on this machine are told apart.
_worker = (os.environ.get("PYTEST_XDIST_TESTRUNUID"), os.environ.get("PYTEST_XDIST_WORKER"))
if all(_worker):
    os.environ["THICKETS_TEST_SESSION"] = "-".join(map(str, _worker))
os.environ.setdefault("THICKETS_TEST_SESSION", str(os.getpid()))
# Timing never decides a test, and a failure found once is found again.
hypothesis_settings.register_profile("thickets", deadline=None, derandomize=True)
hypothesis_settings.load_profile("thickets")
# What takes minutes begins first, so that no worker is left with it at the end.
_LONG = ("evidence/test_truth", "pool/test_ray.py", "pool/test_nodes.py", "baselines/", "run/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers a file's tests stay together, and so does all that starts Ray clusters."""
    folder = Path(__file__).parent

    def place(item: pytest.Item) -> str:
        return item.path.relative_to(folder).as_posix() if item.path.is_relative_to(folder) else ""

    items.sort(key=lambda item: next((n for n, long in enumerate(_LONG) if place(item).startswith(long)), len(_LONG)))
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        file = place(item)
        item.add_marker(pytest.mark.xdist_group("ray" if file.startswith("pool/test_") else file))


CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer() -> Any:
    """A byte-level tokenizer: 256 bytes and five special tokens, so any text can be fed and anything can come out."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_settings(tokenizer: Any) -> dict[str, Any]:
    """What the configurations of tiny language models have in common."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        # Large enough that greedy answers are not one token repeated.
        "initializer_range": 0.3,
    }


def build_model(kind: str, seed: int = 0, **overrides: Any) -> Any:
    """A random two-layer causal language model of a real architecture, float32."""
    import torch
    import transformers

    settings = {**tiny_settings(build_tokenizer()), "tie_word_embeddings": True, **overrides}
    torch.manual_seed(seed)
    model = getattr(transformers, f"{kind}ForCausalLM")
    return model(model.config_class(**settings)).eval()


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a tiny model with its tokenizer and gives the folder."""

    def save(kind: str, seed: int = 0, **overrides: Any) -> Path:
        folder = tmp_path_factory.mktemp(f"{kind.lower()}-{seed}")
        build_model(kind, seed, **overrides).save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def llama(save_model: Callable[..., Path]) -> Path:
    """A saved tiny Llama."""
    return save_model("Llama")


@pytest.fixture(scope="session")
def qwen2(save_model: Callable[..., Path]) -> Path:
    """A saved tiny Qwen2."""
    return save_model("Qwen2")


REWARD = '''
"""A reward that a random model can move: how many of the wanted letters its answer has."""


def letters(completions, letter, **columns):
    return [min(1.0, text.count(wanted) / 2) for text, wanted in zip(completions, letter, strict=True)]


def first_vowel(completion):
    return next((c for c in completion if c in "aeiou"), None)
'''


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A folder with a data set of 60 questions and a reward file, for the custom task."""
    rows = [{"question": f"Write {chr(97 + i % 26)} as in word {i}.", "letter": "aeiou"[i % 5]} for i in range(60)]
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    (tmp_path / "my.py").write_text(REWARD)
    return tmp_path


@pytest.fixture
def settings(llama: Path, letters: Path) -> dict[str, Any]:
    """A whole small run, as nested settings: 10 candidates on 16 questions take about two seconds."""
    return {
        "model": {"name": str(llama), "dtype": "float32"},
        "task": {
            "name": "custom",
            "data": str(letters / "data.jsonl"),
            "prompt": "{question}",
            "reward": f"{letters / 'my.py'}:letters",
            "answer": f"{letters / 'my.py'}:first_vowel",
        },
        "splits": {"selection": 16, "validation": 8, "test": 20},
        "search": {"population": 10, "sigmas": [0.01, 0.03], "seed": 1},
        "generation": {"max_new_tokens": 12},
        "ensemble": {"top_k": 3},
        # Tests of the baselines ask for them; elsewhere they would double the time.
        "baselines": {"names": ["none"]},
        "out": str(letters / "run"),
        "progress": "off",
    }


@pytest.fixture
def config_file(settings: dict[str, Any], tmp_path: Path) -> Path:
    """The same run as a TOML file."""
    import tomli_w

    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(settings))
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def thickets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """The command line, in this process: the same entry point that the shell starts."""

    def call(*arguments: object) -> Ended:
        from thickets.cli.main import main

        monkeypatch.setattr("sys.argv", ["thickets", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call
