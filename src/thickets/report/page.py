"""A summary as one HTML page that needs nothing from outside. Knows nothing of runs, engines or tasks.

What each part shows is worked out in `sections`, and how it is laid out stands in `parts`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from markupsafe import Markup, escape

from thickets.analysis.answer import sentences
from thickets.analysis.summary import Summary
from thickets.report import wording
from thickets.report.figure import data_link
from thickets.report.questions import question_data
from thickets.report.sections.answer import answer, status
from thickets.report.sections.cost import cost
from thickets.report.sections.form import form
from thickets.report.sections.members import luck, members
from thickets.report.sections.search import more, search
from thickets.report.sections.tasks import tasks
from thickets.report.sections.votes import votes
from thickets.report.wording import typeset


def render_report(summary: Summary) -> str:
    """The report as HTML: self-contained, and the same bytes for the same summary."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: _file(f"parts/{name}")),
    )
    environment.filters.update(
        percent=wording.percent,
        points=wording.points,
        decimal=wording.decimal,
        count=wording.count,
        p=wording.p_value,
        duration=wording.duration,
        sigma=wording.sigma,
        moment=wording.moment,
        signed=wording.signed,
        data_link=data_link,
        code=_code,
    )
    page = environment.from_string(_file("template.html.j2")).render(_context(summary))
    # Half a character (a lone surrogate) can be in a model's text and cannot be in a file.
    return page.encode("utf-8", "replace").decode("utf-8")


def _context(summary: Summary) -> dict[str, Any]:
    script = _file("questions.js")
    return {
        "s": summary,
        "k": len(summary.members),
        "style": Markup(_file("style.css")),  # noqa: S704 -- a file of this package
        "script": Markup(script),  # noqa: S704 -- a file of this package
        # Only this script may run: whatever else gets into the page stays text.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "status": status(summary),
        "sentences": [typeset(sentence) for sentence in sentences(summary)],
        "answer": answer(summary),
        "tasks": tasks(summary),
        "form": form(summary),
        "votes": votes(summary),
        "search": search(summary),
        "more": more(summary),
        "luck": luck(summary),
        "members": members(summary),
        "cost": cost(summary),
        "questions": question_data(summary) if summary.questions else None,
        "toml": _toml(summary.config),
        "command": _command(summary),
    }


def _code(sentence: str) -> Markup:
    """What stands between backticks as code, all else escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 -- escaped before


def _command(summary: Summary) -> str:
    """How to repeat the run. An absolute path would say more of its owner than of the run, so only its end is shown."""
    where = PurePath(summary.config.get("out", summary.name))
    where = PurePath(summary.name) if where.is_absolute() else where
    return f"thickets run {shlex.quote(str(where / 'run.toml'))} --out {shlex.quote(f'{where}-again')}"


def _file(name: str) -> str:
    return files("thickets.report").joinpath(name).read_text(encoding="utf-8")


def _toml(config: dict[str, Any]) -> str:
    """The configuration but for what changes no result: where the run lies says more of its owner than of the run.

    What a baseline was evaluated with stands with the baseline.
    """
    import tomli_w

    return tomli_w.dumps({k: v for k, v in config.items() if k not in ("out", "progress", "baselines")})
