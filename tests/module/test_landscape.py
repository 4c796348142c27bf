"""A slice around a module: its places are the perturbations they are said to be, and pictures come of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import thickets
from thickets.config import WeightsConfig
from thickets.errors import CandidateFailed, ConfigError
from thickets.module.landscape import Landscape, Place, Plane, landscape
from thickets.module.pictures import animate, draw_landscape
from thickets.module.population import Population
from thickets.types import Perturbation


def fitted() -> tuple[nn.Module, dict[str, Any]]:
    torch.manual_seed(0)
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))

    def error(model: nn.Module, batch: Any) -> torch.Tensor:
        return -(model(batch[0]) - batch[1]).square().squeeze(1)

    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    scores = {
        "sum": (error, (x, x.sum(1, keepdim=True))),
        "product": (error, (x, (x[:, :1] * x[:, 1:2]))),
    }
    return module, scores


def small(module: nn.Module, scores: dict[str, Any], **more: Any) -> Landscape:
    return landscape(module, scores, sigma=0.3, candidates=30, points=5, reach=2.0, **more)


@pytest.mark.parametrize("noise", ["gaussian/1", "low_rank/1:2"])
def test_the_experts_stand_where_the_slice_says(noise: str) -> None:
    module, _ = fitted()
    through = (Perturbation(3, 0.2), Perturbation(9, 0.1, -1))
    config = WeightsConfig(scale="relative")
    places = Plane(module, noise, config, through).stack([None, Place(1, 0), Place(0, 1), Place(0, 0)])
    real = Population(module, noise, config).stack([None, *through, None])
    for name, stack in real.items():
        torch.testing.assert_close(places[name], stack, rtol=1e-6, atol=1e-6)
        assert torch.equal(places[name][3], stack[3])


def test_a_slice_has_the_scores_of_its_places() -> None:
    module, scores = fitted()
    land = small(module, scores)
    assert land.axis == [-2, -1, 0, 1, 2]
    one, two = land.tasks
    assert one.gains.shape == (5, 5)
    assert float(one.gains[2, 2]) == pytest.approx(0, abs=1e-5)
    # Rows go along y: the expert of the first task is one to the right, that of the last one up.
    assert float(one.gains[2, 3]) == pytest.approx(one.best_gain, rel=1e-3)
    assert float(two.gains[3, 2]) == pytest.approx(two.best_gain, rel=1e-3)
    assert land.through == (one.expert, two.expert)
    assert 0 <= one.density.low <= one.density.value <= one.density.high <= 1


def test_a_slice_through_what_is_given() -> None:
    module, scores = fitted()
    last = small(module, scores)
    with torch.no_grad():
        module[2].bias.add_(3.0)
    land = small(module, scores, through=last.through)
    assert land.through == last.through
    assert land.tasks[0].base < last.tasks[0].base
    assert float(land.tasks[0].gains[2, 2]) == pytest.approx(0, abs=1e-5)
    assert not torch.allclose(land.tasks[0].gains, last.tasks[0].gains)


def test_a_single_task_spans_the_slice_by_its_two_best() -> None:
    module, scores = fitted()
    land = small(module, {"sum": scores["sum"]})
    assert land.through[0] == land.tasks[0].expert
    assert land.through[0] != land.through[1]


def test_landscapes_that_cannot_be() -> None:
    module, scores = fitted()
    with pytest.raises(ConfigError, match="needs a task"):
        small(module, {})
    for wrong in ({"points": 1}, {"reach": math.inf}, {"reach": math.nan}, {"reach": "2"}, {"candidates": 2.0}):
        with pytest.raises(ConfigError, match="two points to a side, and a finite reach"):
            landscape(module, scores, sigma=0.1, **wrong)  # type: ignore[arg-type]
    for task in (scores["sum"][0], (scores["sum"][0],), "ab"):
        with pytest.raises(ConfigError, match=r"task a of the landscape is not a pair; give \{'a': \(score, data\)\}"):
            small(module, {"a": task})
    with pytest.raises(ConfigError, match="the score is 'a'; give a function"):
        small(module, {"a": ("a", 1)})
    with pytest.raises(ConfigError, match="needs a task"):
        small(module, [scores["sum"]])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sigmas"):
        landscape(module, scores, sigma=-0.1)
    with pytest.raises(CandidateFailed, match="no scale"):
        small(module, {"nothing": (lambda model, batch: model(batch).sum() * 0, torch.ones(2, 4))})


def test_what_holds_for_every_task_is_said_once() -> None:
    module, scores = fitted()
    said: list[str] = []
    alone = {
        name: (lambda model, batch, score=score: float(score(model, batch).mean()), data)
        for name, (score, data) in scores.items()
    }
    small(module, alone, say=said.append)
    assert len(said) == len(set(said)) == 1
    assert "one at a time" in said[0]


def test_pictures_still_and_moving(tmp_path: Path) -> None:
    from PIL import Image

    module, scores = fitted()
    land = small(module, scores)
    files = draw_landscape(land, tmp_path / "deep" / "still")
    assert [f.name for f in files] == ["still.svg", "still.png"]
    assert "the best candidate of sum" in files[0].read_text()
    film = animate([(0, small(module, scores, through=land.through)), (10, land)], tmp_path / "film", "steps")
    with Image.open(film) as picture:
        assert picture.n_frames >= 2  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="needs a landscape"):
        animate([], tmp_path / "film", "steps")
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="a frame cannot last"):
            animate([(0, land)], tmp_path / "film", "steps", seconds)


@pytest.mark.parametrize("seconds", [0.3, 0.8, 2.5])
def test_frames_last_as_long_as_is_said(tmp_path: Path, seconds: float) -> None:
    from PIL import Image, ImageSequence

    module, scores = fitted()
    land = landscape(module, {"sum": scores["sum"]}, sigma=0.3, candidates=3, points=3)
    film = animate([(0, land), (5, land), (10, land)], tmp_path / "film", "steps", seconds)
    with Image.open(film) as picture:
        lasting = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
    assert lasting == [1000 * seconds, 1000 * seconds, 4000 * seconds]


def test_landscape_is_a_public_name() -> None:
    assert thickets.landscape is landscape
