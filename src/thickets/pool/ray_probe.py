"""Looks at every node of a Ray cluster: versions, cores, GPUs, and whether the model can be read there.

Starts no engine; knows nothing of how much memory a run needs.
"""

from __future__ import annotations

import math
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.config import ClusterConfig, ModelConfig
from thickets.engines.files import folder_here, unreadable_weights
from thickets.pool.fleet import public
from thickets.pool.ray_actor import versions
from thickets.pool.ray_fleet import connect, import_ray

# Seconds that a node may take to answer; loading a tokenizer from a slow shared disk takes some.
_PATIENCE = 120.0


@dataclass(frozen=True)
class Gpu:
    """One GPU, with its memory in GiB; NaN where the driver does not say (it is the machine's own, for instance)."""

    name: str
    total: float
    free: float


@dataclass(frozen=True)
class Node:
    """What a node said. `problem` is why the model cannot be read there, or why the node did not answer."""

    host: str
    cores: float
    gpus: tuple[Gpu, ...]
    versions: dict[str, str]
    problem: str | None


def probe(cluster: ClusterConfig, model: ModelConfig | None) -> list[Node]:
    """Ask every living node of the cluster. Raises `EngineError` where it cannot be reached."""
    ray = import_ray()
    owns = not ray.is_initialized()
    if owns:
        connect(ray, cluster)
    try:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [n for n in ray.nodes() if n["Alive"]]
        look = ray.remote(num_cpus=0, max_retries=0)(look_around)
        asked = [
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(n["NodeID"], soft=False)).remote(
                n["Resources"].get("CPU", 0.0), model
            )
            for n in nodes
        ]
        return [_answer(ray, node, reference) for node, reference in zip(nodes, asked, strict=True)]
    finally:
        if owns:
            ray.shutdown()


def _answer(ray: Any, node: dict[str, Any], reference: Any) -> Node:
    try:
        found: Node = ray.get(reference, timeout=_PATIENCE)
    except Exception as error:  # noqa: BLE001 - whatever stops a node from answering is what is reported
        host, cores = str(node.get("NodeManagerHostname") or "?"), float(node["Resources"].get("CPU", 0))
        return Node(host, cores, (), {}, f"it did not answer: {type(error).__name__}: {str(error).splitlines()[0]}")
    return found


def look_around(cores: float, model: ModelConfig | None) -> Node:
    """What there is on this node; runs on each."""
    return Node(platform.node(), cores, gpus(), versions(), None if model is None else unreadable(model))


def unreadable(model: ModelConfig) -> str | None:
    """Why a model's configuration, tokenizer or weights cannot be read here, or `None` if they can."""
    from transformers import AutoConfig, AutoTokenizer

    try:
        AutoConfig.from_pretrained(model.name, revision=model.revision, trust_remote_code=False)
        AutoTokenizer.from_pretrained(model.name, revision=model.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        return f"model {model.name!r} cannot be read: {str(error).strip().splitlines()[0]}"
    reason = _weights(model)
    return None if reason is None else f"the weights of model {model.name!r} cannot be read: {reason}"


def _weights(model: ModelConfig) -> str | None:
    from huggingface_hub import constants

    # From the Hub, which has just given the rest, an engine loads what is not here yet.
    if not Path(model.name).is_dir() and not constants.HF_HUB_OFFLINE:
        return None
    folder = folder_here(model)
    return (
        "they are not in the Hub's cache, and HF_HUB_OFFLINE is set" if folder is None else unreadable_weights(folder)
    )


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that the driver sees, whichever of them Ray would give to a process."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(_gpu(line) for line in lines if line.count(",") == 2)


def _gpu(line: str) -> Gpu:
    name, total, free = (part.strip() for part in line.split(","))
    return Gpu(name, _gib(total), _gib(free))


def _gib(mib: str) -> float:
    try:
        return float(mib) / 1024
    except ValueError:
        return math.nan  # [N/A]


def differing(nodes: Sequence[Node], here: Mapping[str, str]) -> list[str]:
    """One sentence for every version on a node that is another one than here, or than on other nodes.

    What is not installed at all may be missing here, and on a node that gets no engine. How a package was built may be
    another here, as it may for a run; nodes are held against each other as they are.
    """
    answered = [node for node in nodes if node.versions]
    packages = dict.fromkeys(p for found in (here, *(node.versions for node in answered)) for p in found)
    return [sentence for package in packages for sentence in _unequal(package, answered, here)]


def _unequal(package: str, nodes: Sequence[Node], here: Mapping[str, str]) -> Iterator[str]:
    have = [node for node in nodes if package in node.versions]
    if not have:
        return
    mine, first = here.get(package), have[0]
    where, wanted = ("this machine", mine) if mine is not None else (first.host, first.versions[package])
    for node in nodes:
        version = node.versions.get(package)
        if version is None:
            if gets_engines(node, nodes):
                yield f"{node.host} has no {package}, {where} {wanted}"
        elif mine is not None and public(version) != public(mine):
            yield f"{node.host} has {package} {version}, this machine {mine}"
        elif version != first.versions[package]:
            yield f"{node.host} has {package} {version}, {first.host} {first.versions[package]}"


def gets_engines(node: Node, nodes: Sequence[Node]) -> bool:
    """Whether engines may run on that one of the nodes: where there are GPUs, beside them only."""
    return bool(node.gpus) if any(other.gpus for other in nodes) else node.cores > 0
