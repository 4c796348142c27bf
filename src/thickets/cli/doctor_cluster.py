"""Looks at a Ray cluster before a run: equal versions, a readable model, GPUs large enough. Changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from thickets.cli.doctor import Finding
from thickets.config import ClusterConfig, RunConfig
from thickets.errors import ThicketsError
from thickets.plan.shape import read_shape
from thickets.pool.ray_actor import versions
from thickets.pool.ray_probe import Gpu, Node, differing, gets_engines, probe

# A GPU computes in two bytes a weight unless it is told otherwise.
_ITEMSIZE = {"auto": 2, "bfloat16": 2, "float16": 2, "float32": 4}
_GIB = 2**30


def examine_cluster(address: str, config: RunConfig | None) -> list[Finding]:
    """Findings on every node; with `config`, also whether its model can be read and fits there."""
    try:
        nodes = probe(ClusterConfig(address=address), config.model if config else None)
    except ThicketsError as error:
        return [Finding("cluster", "missing", str(error))]
    return [
        Finding("cluster", "ok", f"{len(nodes)} nodes answer at {address}"),
        *_nodes(nodes),
        *_versions(nodes),
        *(_model(nodes, config) if config else ()),
    ]


def _nodes(nodes: Sequence[Node]) -> Iterator[Finding]:
    for node in nodes:
        if not node.versions:
            yield Finding(f"node {node.host}", "missing", node.problem or "it did not answer")
            continue
        gpus = ", ".join(f"{g.name} ({_memory(g)})" for g in node.gpus)
        yield Finding(f"node {node.host}", "ok", f"{node.cores:g} cores for Ray; {gpus or 'no GPU'}")


def _memory(gpu: Gpu) -> str:
    return "it does not say how much memory" if math.isnan(gpu.total) else f"{gpu.total:.0f} GiB, {gpu.free:.0f} free"


def _versions(nodes: Sequence[Node]) -> Iterator[Finding]:
    here = versions()
    sentences = differing(nodes, here)
    for sentence in sentences:
        yield Finding("versions", "missing", f"{sentence}; install the same on all nodes")
    if not sentences:
        known = {p: v for found in (*(node.versions for node in nodes), here) for p, v in found.items()}
        yield Finding("versions", "ok", "equal on all nodes: " + ", ".join(f"{p} {v}" for p, v in known.items()))


def _model(nodes: Sequence[Node], config: RunConfig) -> Iterator[Finding]:
    unreadable = [node for node in nodes if node.versions and node.problem]
    for node in unreadable:
        if gets_engines(node, nodes):
            yield Finding(f"model on {node.host}", "missing", f"{node.problem}; put it on a disk that all nodes share")
        else:
            yield Finding(f"model on {node.host}", "note", f"{node.problem}; no engine would run there")
    if not unreadable:
        yield Finding("model", "ok", f"{config.model.name} can be read on all nodes")
    try:
        shape = read_shape(config)
    except ThicketsError as error:
        yield Finding("memory for the model", "missing", str(error))
        return
    itemsize, parallel = _ITEMSIZE[config.model.dtype], config.engine.tensor_parallel
    copy = 0 if config.engine.base == "host" else shape.moving
    needed = (shape.weight_bytes(itemsize) + copy * itemsize) / parallel / _GIB
    what = f"weights and the copy of the base need {needed:.1f} GiB of each GPU, beside the key-value cache"
    what += f" ({shape.note})" if shape.note else ""
    small = [
        f"{gpu.name} of {node.host} has {gpu.total:.0f} GiB"
        for node in nodes
        for gpu in node.gpus
        if gpu.total * config.engine.memory <= needed
    ]
    if small:
        remedy = "--engine.base host, more --engine.tensor-parallel (vllm), or larger GPUs"
        yield Finding("memory for the model", "missing", f"{what}: {small[0]}; use {remedy}")
    elif silent := [f"{gpu.name} of {node.host}" for node in nodes for gpu in node.gpus if math.isnan(gpu.total)]:
        yield Finding("memory for the model", "note", f"{what}, and {silent[0]} does not say how much it has")
    elif any(node.gpus for node in nodes):
        yield Finding("memory for the model", "ok", what)
    else:
        yield Finding("memory for the model", "note", f"no node has a GPU; {what.replace('each GPU', 'host memory')}")
