"""Every script in `examples/modules` runs, with few candidates, says whether RandOpt helped, and draws it."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

FOLDER = Path(__file__).parents[2] / "examples" / "modules"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "common")


def test_there_are_scripts() -> None:
    assert SCRIPTS == ["cartpole", "digits", "tabular", "text"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_whether_it_helped_and_draws_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [name, "--population", "40"])
    # The benchmarks have a module of that name too.
    monkeypatch.delitem(sys.modules, "common", raising=False)
    try:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    finally:
        sys.modules.pop("common", None)
    told = capsys.readouterr().out
    assert re.search(r"^RandOpt: (helped|hurt|no clear difference), [+-]\d.*95 % over \d+ tests", told, re.M)
    assert re.search(r"^ensemble +\w.* \d", told, re.M)
    figure = Path("runs") / "modules" / f"{name}.png"
    assert str(figure) in told
    with Image.open(figure) as drawn:
        assert drawn.size[0] > 600
