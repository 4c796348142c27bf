"""What a search is asked for, checked before anything is done: one sentence each. Searches nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from thickets.config import SearchConfig, WeightsConfig
from thickets.config.reading import validate
from thickets.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from torch import nn


def check_module(module: Any) -> None:
    """Raise `ModelError` for what is no `torch.nn.Module`, and for one whose parameters are yet to be made."""
    from torch import nn
    from torch.nn.parameter import is_lazy

    if isinstance(module, type) and issubclass(module, nn.Module):
        raise ModelError(f"the module is the class {module.__name__}; make one of it: {module.__name__}(...)")
    if not isinstance(module, nn.Module):
        raise ModelError(f"the module is {_given(module)}; give a torch.nn.Module, with its weights loaded")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(
                f"tensor {name} of the module is not initialised, as it is lazy; call the module on a batch once"
            )


def check_score(score: Any) -> None:
    """Raise `ConfigError` for what cannot be called."""
    if not callable(score):
        raise ConfigError(f"the score is {_given(score)}; give a function score(module, data)")


def check_memory(memory: Any) -> None:
    """Raise `ConfigError` for what is no amount of memory. `None` is."""
    if memory is None:
        return
    if isinstance(memory, bool) or not isinstance(memory, Real) or not 0 < float(memory) < math.inf:
        raise ConfigError(
            f"memory is {_given(memory)}; give how many bytes a chunk of candidates may take, a number above 0"
        )


def settings_of(
    population: int,
    sigmas: Sequence[float],
    seed: int,
    noise: str,
    antithetic: bool,
    weights: WeightsConfig | dict[str, Any] | None,
) -> tuple[SearchConfig, WeightsConfig]:
    """Checked by the same rules as a run's. Raises `ConfigError`."""
    try:
        listed = tuple(sigmas)
    except TypeError:
        raise ConfigError(f"sigmas is {_given(sigmas)}; give a list of them, as in sigmas=[0.01, 0.03]") from None
    given = {
        "population": population,
        "sigmas": sigmas if isinstance(sigmas, str) else listed,
        "seed": seed,
        "noise": noise,
        "antithetic": antithetic,
    }
    config = validate(SearchConfig, given, "the search")
    if weights is not None and not isinstance(weights, WeightsConfig | dict):
        raise ConfigError(f'weights is {_given(weights)}; give a dictionary, as in weights={{"include": ["head.*"]}}')
    moved = weights if isinstance(weights, WeightsConfig) else validate(WeightsConfig, weights or {}, "weights")
    return config, moved


def asked(
    module: nn.Module,
    score: Any,
    top_k: int,
    memory: int | None,
    population: int,
    sigmas: Sequence[float],
    seed: int,
    noise: str,
    antithetic: bool,
    weights: WeightsConfig | dict[str, Any] | None,
) -> tuple[SearchConfig, WeightsConfig]:
    """The settings of a search. Raises a `ThicketsError` for those, or a module or score, that no search can have."""
    check_module(module)
    check_score(score)
    check_memory(memory)
    config, moved = settings_of(population, sigmas, seed, noise, antithetic, weights)
    if isinstance(top_k, bool) or not isinstance(top_k, Integral):
        raise ConfigError(f"top_k is {_given(top_k)}; give a whole number")
    if top_k < 1 or top_k > config.population:
        raise ConfigError(f"top_k is {top_k}; keep at least 1 and at most as many as are tried ({config.population})")
    return config, moved


def _given(value: Any) -> str:
    """A value for people, where it is one that can be told in a few words."""
    if value is None or isinstance(value, str | Real):
        return repr(value)[:80]
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a {type(value).__name__}"
