"""The configuration is one object in three shapes: TOML, flags and `run.toml`."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.cli.flags import fields, nested
from thickets.config import differences, merge, parse, read_toml, validate
from thickets.config.diffusion import ImageSearchConfig
from thickets.errors import ConfigError


def test_it_survives_being_written_and_read() -> None:
    config = parse({"model": "m", "task": "countdown", "search": {"sigmas": [0.1], "population": 70}, "out": "x"})
    assert parse(tomllib.loads(config.to_toml())) == config


def test_every_field_has_its_documentation_in_its_docstring() -> None:
    undocumented = [path for path, field in fields() if not field.description]
    assert undocumented == []


def test_text_from_flags_means_what_toml_values_mean() -> None:
    text = parse({"model": "m", "search": {"sigmas": ["1e-3,2e-3"], "population": "30"}, "ensemble": {"top_k": "4"}})
    typed = parse({"model": "m", "search": {"sigmas": [1e-3, 2e-3], "population": 30}, "ensemble": {"top_k": 4}})
    assert text == typed


def test_flags_win_over_the_file_and_a_bare_name_is_a_name() -> None:
    file = {"model": "m", "task": "countdown", "search": {"population": 10, "seed": 3}}
    merged = merge(file, nested({"task.size": "50", "search.population": "20", "model.dtype": "float32"}))
    config = parse(merged)
    assert (config.task.name, config.task.size, config.model.name) == ("countdown", 50, "m")
    assert (config.search.population, config.search.seed, config.model.dtype) == (20, 3, "float32")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "model is missing; give --model"),
        ({"model": "m", "search": {"popluation": 3}}, "there is no field search.popluation; did you mean"),
        ({"model": "m", "serch": {}}, "there is no field serch; did you mean search?"),
        ({"model": "m", "search": {"sigmas": [0.0]}}, "search.sigmas: every sigma must be a positive number, not 0.0"),
        ({"model": "m", "search": {"sigmas": [-1e-3]}}, "must be a positive number, not -0.001"),
        ({"model": "m", "search": {"sigmas": ["nan"]}}, "must be a positive number, not nan"),
        ({"model": "m", "search": {"sigmas": []}}, "search.sigmas"),
        ({"model": "m", "ensemble": {"top_k": 11}, "search": {"population": 10}}, "top_k (11) is larger than"),
        ({"model": "m", "ensemble": {"top_k": 0}}, "ensemble.top_k"),
        ({"model": "m", "splits": {"selection": 0}}, "splits.selection"),
        ({"model": "m", "generation": {"temperature": float("nan")}}, "generation.temperature"),
        ({"model": ""}, "model.name"),
    ],
)
def test_bad_values_are_named_in_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(given, "run.toml")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stpes": 3}, "there is no field stpes; did you mean steps?"),
        ({"weights": {"includ": []}}, "there is no field weights.includ; did you mean weights.include?"),
        # A table of a run, which a search around a pipeline does not have.
        ({"generaton": {}}, "there is no field generaton"),
    ],
)
def test_only_what_the_table_has_is_suggested(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(ImageSearchConfig, given, "search_pipeline")
    assert str(error.value) == f"search_pipeline cannot be used: {said}"


def test_bad_toml_names_file_and_line(tmp_path: Any) -> None:
    (tmp_path / "c.toml").write_text("model = 'm'\n[search\n")
    with pytest.raises(ConfigError, match=r"c\.toml is not valid TOML.*line 2"):
        read_toml(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match="no configuration file"):
        read_toml(tmp_path / "none.toml")


def test_stop_strings_are_taken_as_they_are() -> None:
    stops = ("\n\n", "\nQuestion:", "a, b", " ")
    config = parse({"model": "m", "generation": {"stop": list(stops)}})
    assert config.generation.stop == stops
    assert parse(tomllib.loads(config.to_toml())).generation.stop == stops
    assert parse({"model": "m", "generation": {"stop": "x, y"}}).generation.stop == ("x, y",)
    with pytest.raises(ConfigError, match="a text in this list cannot be empty"):
        parse({"model": "m", "generation": {"stop": [""]}})


def test_differences_name_the_setting_and_both_values() -> None:
    before = parse({"model": "m", "search": {"population": 100}}).fixed()
    after = parse({"model": "m", "search": {"population": 200}, "out": "elsewhere"}).fixed()
    assert differences(before, after) == ["search.population: 100 → 200"]


@given(st.lists(st.floats(min_value=1e-9, max_value=9), min_size=1, max_size=5))
def test_any_list_of_sigmas_comes_back(sigmas: list[float]) -> None:
    config = parse({"model": "m", "search": {"sigmas": sigmas}})
    assert parse(tomllib.loads(config.to_toml())).search.sigmas == tuple(sigmas)
