"""Which prompts go into one batch. Knows only their lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# A batch of fewer sequences leaves the processor waiting for the weights at every new token.
_ENOUGH = 16
# A prompt shorter than this share of the batch's longest would be mostly padding.
_ALIKE = 0.7


def batches(
    lengths: Sequence[int], new_tokens: int, budget: int, shared: int = 0, chunk: int | None = None
) -> Iterator[list[int]]:
    """Indices grouped so that prompts of one batch are of like length and fit the budget.

    A batch of n prompts, the longest of L tokens, costs n · (L + new_tokens) tokens of cache. Longest first, so
    that memory that does not suffice shows at once and not after an hour. A prompt over the budget goes alone.
    The first `shared` tokens of all prompts are computed elsewhere and need no padding. `chunk` is how many prompt
    tokens are best computed at once; a batch may have more where it would otherwise be too small to decode well.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batch: list[int] = []
    for index in order:
        longest = lengths[batch[0]] if batch else lengths[index]
        full = (len(batch) + 1) * (longest + new_tokens) > budget
        unlike = lengths[index] - shared < _ALIKE * (longest - shared)
        over = chunk is not None and (len(batch) + 1) * (longest - shared) > chunk
        if batch and (full or (len(batch) >= _ENOUGH and (unlike or over))):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all prompts share, leaving each at least one token of its own."""
    if len(prompts) < 2:
        return 0
    # In lexicographic order the extremes differ earliest.
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    shared = 0
    for a, b in zip(first, last, strict=False):
        if a != b:
            break
        shared += 1
    return min(shared, min(len(p) for p in prompts) - 1)
