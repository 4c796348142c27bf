"""A head on a frozen text encoder: which part of Python's library does a line of documentation come from?

    python examples/modules/text.py

The encoder learns to predict characters of other lines and is then frozen; only the head moves.
"""

from __future__ import annotations

import pydoc
from typing import Any

import torch
from common import candidates, report, train
from torch import nn

import thickets

LENGTH = 48
TOPICS = ("statistics", "socket", "datetime", "subprocess")


class Encoder(nn.Module):
    """Characters to a vector: a GRU over bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(128, 24)
        self.gru = nn.GRU(24, 64, batch_first=True)
        self.following = nn.Linear(64, 128)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.gru(self.characters(text))[0]
        return states


class Classifier(nn.Module):
    """The frozen encoder's mean state, and a head."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, len(TOPICS)))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.encoder(text).mean(1))
        return answer


def lines() -> tuple[torch.Tensor, torch.Tensor]:
    """`[lines, LENGTH]` bytes of documentation, and the topic of each."""
    texts, topics = [], []
    for number, name in enumerate(TOPICS):
        plain = pydoc.plain(pydoc.render_doc(name))
        # Each line once, in the order of the text: a set has another order in every process.
        for line in dict.fromkeys(line.strip(" |") for line in plain.splitlines()):
            if len(line) > 25:
                texts.append([min(byte, 127) for byte in line.encode()[:LENGTH].ljust(LENGTH)])
                topics.append(number)
    return torch.tensor(texts), torch.tensor(topics)


def likelihood(model: nn.Module, batch: Any) -> torch.Tensor:
    """`[lines]`: the log-likelihood of the right topic."""
    features, topics = batch
    return -nn.functional.cross_entropy(model(features), topics, reduction="none")


def main() -> None:
    population = candidates(1000)
    torch.manual_seed(0)
    texts, topics = lines()
    order = torch.randperm(len(topics), generator=torch.Generator().manual_seed(0))
    texts, topics = texts[order], topics[order]
    a, b, c = (len(topics) * k // 10 for k in (2, 4, 7))
    encoder = Encoder()

    def next_character() -> torch.Tensor:
        guess = encoder.following(encoder(texts[:b, :-1]))
        return nn.functional.cross_entropy(guess.flatten(0, 1), texts[:b, 1:].flatten())

    train(encoder, next_character, 60)
    model = Classifier(encoder)
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    train(model.head, lambda: -likelihood(model, (texts[a:b], topics[a:b])).mean(), 60)
    # What is frozen gives the same for every candidate: it runs once, and the search sees its vectors.
    with torch.no_grad():
        vectors = encoder(texts).mean(1)
    found = thickets.search(
        model.head,
        likelihood,
        (vectors[b:c], topics[b:c]),
        population=population,
        sigmas=(0.02, 0.05),
        top_k=20,
        say=print,
    )
    each = found.ensemble().predictions(vectors[c:], lambda head, x: head(x).softmax(-1))
    with torch.no_grad():
        answers = {"base": model(texts[c:]), "best single": each[0], "ensemble": each.mean(0)}
    report("text", "accuracy", {name: answer.argmax(-1) == topics[c:] for name, answer in answers.items()})


if __name__ == "__main__":
    main()
