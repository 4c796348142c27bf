"""The page: what it says of each kind of result; nothing hostile acts in it, and it needs nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from thickets.analysis.statistics import Interval, share
from thickets.analysis.summary import Summary
from thickets.report import render_report
from thickets.report.questions import KEY, MEMBER_TEXT, TEXT, embedded
from thickets.types import Judgement, Outcome

Make = Callable[..., Summary]

HOSTILE = (
    "</script><script>alert(1)</script><!--<script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "]]>\u2028\u2029\x00\u202e مرحبا 你好 🌿 \ud800",
    "https://evil.example/x.js",
    "x" * 100_000,
    "",
)

CSV = "data:text/csv;charset=utf-8;base64,"

VOID = {"meta", "link", "input", "br", "img", "hr", "use"}


class Page(HTMLParser):
    """Every tag with its attributes, the text of every element, and whether tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def shown(self) -> str:
        """What a reader sees, without the breaks of the source; thin spaces stay."""
        return re.sub(r"[ \n]+", " ", "".join(self.words))

    @property
    def data(self) -> Any:
        return json.loads(next(t for t in self.texts["script"] if t.startswith("{")))


def hostile(make: Make, text: str | None) -> Summary:
    """A summary in which everything that comes from outside is `text`."""
    summary = make(n=6, k=3)
    word = text or ""

    def outcome(o: Outcome) -> Outcome:
        return replace(o, judgement=Judgement(0.0, False, text), text=text)

    questions = tuple(
        replace(
            q,
            label=word,
            prompt=word,
            reference={word: text, "list": [word, 1], "tree": {word: [text, {}]}},
            base=outcome(q.base),
            members=tuple(outcome(m) for m in q.members),
            vote=replace(q.vote, key=text, counts={word: 3}),
        )
        for q in summary.questions
    )
    clean = word.replace("\ud800", "")  # TOML and file names hold no half characters
    return replace(
        summary,
        name=clean,
        config={"model": {"name": clean, "revision": clean}, "task": {"name": clean, "prompt": clean}},
        identity={"model": word, "data": word},
        engine={word: text},
        versions={word: word},
        created=word,
        finished=word,
        notes=(word, word),
        failures=((word, 3),),
        questions=questions,
    )


@pytest.fixture(scope="module")
def gain(make_summary: Make) -> Summary:
    return make_summary()


@pytest.fixture(scope="module")
def page(gain: Summary) -> Page:
    return Page(render_report(gain))


def test_a_gain_is_told_with_its_interval(gain: Summary, page: Page) -> None:
    assert gain.test is not None
    shown = page.shown
    low = gain.test.gain.difference.low * 100
    assert "more of the 400 held-out questions right" in shown
    assert f"95\u202f% interval {low:+.1f}" in shown
    assert f"{gain.test.base.value * 100:.1f}\u202f%" in shown
    over = gain.test.gain.difference
    assert f"RandOpt minus it: {over.value * 100:+.1f} {over.low * 100:+.1f} to {over.high * 100:+.1f}" in shown
    assert "p < 0.001" in shown


def test_what_is_not_measured_is_said(page: Page) -> None:
    assert "A vote of 5 costs 5 times the inference of the base" in page.shown
    assert "Not run: 5 random members. Without it it is open" in page.shown
    assert "Not applicable: best of 5 by reward. The reward knows the answers." in page.shown
    assert "optimistic" in page.shown


def test_baselines_stand_beside_the_result(gain: Summary, page: Page) -> None:
    control = gain.baselines[-1].on("test")
    assert control is not None
    accuracy, over = (i.value * 100 for i in (control.accuracy, control.randopt_over.difference))
    assert re.search(rf"Self-consistency@5\s*5 passes a question\s*{accuracy:.1f}\s%", page.shown)
    assert f"{over:+.1f}".replace("-", "−") in page.shown
    assert "180,000240,000" in page.shown.replace("\u202f", ",")


@pytest.mark.parametrize(
    ("figures", "sentence", "tone"),
    [
        ({"n": 60, "base": 0.7, "member": 0.55, "silent": 0.0}, "No gain is shown", "none"),
        ({"n": 200, "base": 0.75, "member": 0.25}, "RandOpt made it worse", "worse"),
    ],
)
def test_no_gain_is_not_dressed_up(make_summary: Make, figures: dict[str, Any], sentence: str, tone: str) -> None:
    html = render_report(make_summary(**figures))
    assert sentence in Page(html).shown
    assert f'class="headline {tone}"' in html
    assert 'class="headline gain"' not in html


def test_a_true_minus_sign_stands_in_the_headline(make_summary: Make) -> None:
    shown = Page(render_report(make_summary(n=200, base=0.75, member=0.25))).shown
    assert not re.search(r"(?<![\w:])-\d", shown)


def test_an_unfinished_run_shows_the_search_and_no_result(make_summary: Make) -> None:
    summary = make_summary(finished=False)
    found = Page(render_report(summary))
    assert "This run is not finished: 40 of 60 candidates are scored" in found.shown
    assert "RandOpt@" not in found.shown
    assert "reach the base" in found.shown
    assert not any(attrs.get("id") == "question-data" for _, attrs in found.tags)


def test_a_run_of_which_nothing_is_known_yet(make_summary: Make) -> None:
    summary = make_summary(finished=False)
    nothing = tuple(replace(s, tried=0, failed=0, scores=(), density=share(0, 0)) for s in summary.sigmas)
    nan = float("nan")
    empty = replace(
        summary,
        identity={},
        engine={},
        versions={},
        notes=(),
        base_score=nan,
        base_selection_accuracy=nan,
        tried=0,
        failures=(),
        sigmas=nothing,
        density=share(0, 0),
        costs=(),
    )
    found = Page(render_report(empty))
    assert not re.search(r"\bnan\b", found.shown, re.IGNORECASE)
    assert "0 of 60 candidates are scored" in found.shown


def test_kept_members_that_are_not_tested_yet(make_summary: Make) -> None:
    done = make_summary(n=20)
    members = tuple(replace(m, held_out=None, abstained=None) for m in done.members)
    found = Page(render_report(replace(done, test=None, validation=None, questions=(), members=members, finished=None)))
    assert "optimistic" in found.shown
    assert "None" not in found.shown


def test_no_number_is_printed_as_nan(make_summary: Make) -> None:
    summary = make_summary(n=20)
    assert summary.test is not None
    nan = Interval(float("nan"), 0.0, 1.0)
    odd = replace(summary, test=replace(summary.test, best=nan, base_abstained=float("nan")), notes=(), failures=())
    html = render_report(odd)
    assert not re.search(r"\b(nan|inf)\b", html, re.IGNORECASE)


@pytest.mark.parametrize("text", [*HOSTILE, None])
def test_hostile_text_is_inert(make_summary: Make, text: str | None) -> None:
    html = render_report(hostile(make_summary, text))
    html.encode()
    found = Page(html)
    assert not found.open
    scripts = [attrs for tag, attrs in found.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "question-data"}, {}]
    assert not [tag for tag, _ in found.tags if tag in ("img", "iframe", "link", "object", "embed", "base")]
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]
    links = [str(attrs["href"]) for _, attrs in found.tags if "href" in attrs]
    assert not [link for link in links if not link.startswith(("#", CSV))]
    assert not any("src" in attrs for _, attrs in found.tags)
    assert len(found.data["questions"]) == 6
    # A template in a name is a name: it is shown as it was written.
    name = (text or "").replace("\ud800", "")
    assert " ".join(name.split()) == " ".join("".join(found.texts.get("h1", [])).split())


def test_hostile_text_arrives_as_it_was(make_summary: Make) -> None:
    text = HOSTILE[0]
    rows = Page(render_report(hostile(make_summary, text))).data["questions"]
    assert rows[0][1] == text
    assert rows[0][3][2] == text
    assert rows[0][5][0][2] == text


def test_long_texts_are_cut_and_the_caps_are_stated(make_summary: Make) -> None:
    found = Page(render_report(hostile(make_summary, "y" * 5000)))
    label, prompt, _, base, vote, members, _ = found.data["questions"][0]
    assert [len(prompt), len(base[2]), len(vote[0]), len(members[0][2])] == [TEXT, TEXT, KEY, MEMBER_TEXT]
    assert prompt.endswith("…")
    assert "cut after 2\u202f000 characters, members' after 300" in found.shown
    assert len(label) == KEY


def test_a_text_that_was_not_kept_is_not_the_word_none(make_summary: Make) -> None:
    rows = Page(render_report(hostile(make_summary, None))).data["questions"]
    assert rows[0][3][2] is None
    assert rows[0][3][0] is None


def test_embedded_json_closes_nothing() -> None:
    text = embedded({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}


def test_nothing_is_loaded_from_outside(gain: Summary) -> None:
    html = render_report(gain)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_only_the_page_s_own_script_may_run(gain: Summary, page: Page) -> None:
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    script = next(t for t in page.texts["script"] if not t.startswith("{"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert "innerHTML" not in script


def test_equal_summaries_give_equal_bytes(make_summary: Make, gain: Summary) -> None:
    assert render_report(make_summary()) == render_report(gain)


def test_ids_are_unique_and_references_meet_them(page: Page) -> None:
    ids = [str(attrs["id"]) for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = {str(a["href"])[1:] for _, a in page.tags if str(a.get("href", "")).startswith("#")}
    wanted |= {str(a["aria-labelledby"]) for _, a in page.tags if "aria-labelledby" in a}
    assert wanted <= set(ids)


def test_every_drawing_has_words_for_who_cannot_see_it(page: Page) -> None:
    drawings = [a for tag, a in page.tags if tag == "svg" or a.get("role") == "img"]
    assert len([tag for tag, _ in page.tags if tag == "svg"]) == 4
    assert all(a.get("role") == "img" and len(str(a.get("aria-label"))) > 20 for a in drawings)


def test_colours_follow_the_theme(gain: Summary) -> None:
    html = render_report(gain)
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert all("var(--ink)" in d and not re.search(r"(fill|stroke): #", d) for d in drawings)
    assert all("<style" not in d for d in drawings)


def test_the_page_says_how_to_do_it_again_and_not_where_it_lay(gain: Summary, page: Page) -> None:
    assert "thickets run countdown-Qwen3-0.6B/run.toml --out countdown-Qwen3-0.6B-again" in page.shown
    assert "/home/ann" not in render_report(gain)
    assert gain.identity["model"] in page.shown


def test_a_large_run_still_opens(make_summary: Make) -> None:
    summary = make_summary(n=1500, k=50, tried=5000, text="We need 24. " * 100)
    html = render_report(summary)
    assert len(html.encode()) < 16_000_000
    found = Page(html)
    assert len(found.data["questions"]) == 1500
    assert "members' after 80;" in found.shown


def test_an_ordinary_run_is_small(gain: Summary) -> None:
    assert len(render_report(gain).encode()) < 500_000
