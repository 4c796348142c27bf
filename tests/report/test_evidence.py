"""What the page, the Markdown and the JSON make of whole runs whose truth is known: every figure, as data too."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.evidence.recorded import make_run, right, wrong
from tests.evidence.worlds import World
from tests.report.test_report import CSV, Page

from thickets.analysis.answer import missing, sentences, standings, tone
from thickets.analysis.changes import Difference
from thickets.analysis.gate import Gate
from thickets.analysis.statistics import holm, share
from thickets.analysis.summary import PartFigures, Summary, summarise
from thickets.cli.tables import print_summary
from thickets.ensemble.votes import Vote
from thickets.report import changes, render_json, render_markdown, render_report, wording
from thickets.report.chapters import chapters
from thickets.report.wording import typeset
from thickets.types import Judgement

NAN = float("nan")
Measured = Callable[[World], Summary]

EXPERTS = World(density=0.35, good="expert", others="worse", finds=0.9)
LUCK = World(others="redrawn")
FORM = World(density=1.0, good="formatter", formed=0.6, finds=0.2, slips=0.1)
SECTIONS = ("result", "form", "votes", "luck", "search", "more", "members", "cost", "questions", "made")


def files(page: Page) -> dict[str, list[list[str]]]:
    """Every file that the page offers, as rows."""
    links = {str(a["download"]): str(a["href"]) for _, a in page.tags if "download" in a}
    assert all(link.startswith(CSV) for link in links.values())
    texts = {name: base64.b64decode(link.removeprefix(CSV)).decode() for name, link in links.items()}
    return {name: list(csv.reader(io.StringIO(text))) for name, text in texts.items()}


@pytest.fixture(scope="module")
def form(measured: Measured) -> Summary:
    return measured(FORM)


@pytest.fixture(scope="module")
def page(form: Summary) -> Page:
    return Page(render_report(form))


def test_a_finished_run_has_every_section_in_order(page: Page) -> None:
    found = [str(a["id"]) for tag, a in page.tags if tag == "h2"]
    assert found == list(SECTIONS)
    assert not page.open


def test_the_gate_is_first_unless_it_was_passed(measured: Measured) -> None:
    luck, experts = measured(LUCK), measured(EXPERTS)
    assert luck.evidence is not None and experts.evidence is not None
    assert luck.evidence.gate.passed is False
    assert experts.evidence.gate.passed is True
    assert sentences(luck)[0] == luck.evidence.gate.sentence
    assert sentences(experts)[1] == experts.evidence.gate.sentence
    assert tone(luck) != "gain"
    assert tone(experts) == "gain"
    undecided = replace(experts, evidence=replace(experts.evidence, gate=Gate(None, "Nothing was decided.")))
    assert sentences(undecided)[0] == "Nothing was decided."
    assert tone(undecided) == "none"
    for summary, text in ((luck, "It is not shown that"), (undecided, "Nothing was decided.")):
        html = render_report(summary)
        assert re.search(rf'<p class="headline none">{text}', html)
        assert re.search(rf"\*\*{text}", render_markdown(summary))


def test_everyone_stands_beside_the_result_with_a_corrected_p(form: Summary, page: Page) -> None:
    found = standings(form)
    assert [s.kind for s in found] == ["base", *["control"] * (len(found) - 2), "vote"]
    assert [s.passes for s in found] == sorted(s.passes for s in found)
    assert all(s.adjusted is not None for s in found[:-1])
    assert form.evidence is not None
    for split in ("test", "validation"):
        rivals = standings(form, split)[:-1]
        raw = [s.randopt_over.p_value for s in rivals if s.randopt_over is not None]
        assert [s.adjusted for s in rivals] == holm(raw)
        assert {s.adjusted for s in rivals} == set(form.evidence.adjusted[split].values())
    assert "not corrected" not in page.shown
    assert "| p |" not in render_markdown(form)
    rows = {row[1]: row for row in files(page)["accuracy.csv"] if row[0] == "test"}
    for s in found:
        assert float(rows[s.title][3]) == s.accuracy.value
        if s.randopt_over is not None:
            assert float(rows[s.title][6]) == s.randopt_over.difference.value
            assert float(rows[s.title][-1]) == s.adjusted
    assert missing(form)
    assert f"Not run: {', '.join(missing(form))}." in page.shown


def test_every_file_has_rows_and_every_figure_a_file(form: Summary, page: Page) -> None:
    found = files(page)
    assert {len({len(row) for row in rows}) for rows in found.values()} == {1}
    assert all(len(rows) > 1 for rows in found.values())
    names = {"accuracy", "format-or-reasoning", "accuracy-by-margin", "accuracy-by-k", "what-members-add", "agreement"}
    names |= {"cross-fitting", "shrinkage", "scores", "density-by-sigma", "density", "discordance", "spectrum"}
    names |= {"accuracy-by-n", "accuracy-by-members", "accuracy-by-share", "members", "cost", "cost-of-baselines"}
    assert names == {name.removesuffix(".csv") for name in found}
    drawings = sum(tag == "svg" for tag, _ in page.tags)
    assert drawings == 2 * 10
    assert not any("nan" in cell.lower() for rows in found.values() for row in rows for cell in row)


def test_curves_are_tables_too(form: Summary, page: Page) -> None:
    assert form.evidence is not None and form.evidence.curves is not None and form.evidence.density is not None
    curves, density = form.evidence.curves, form.evidence.density
    # Three curves, density against the margin, accuracy as members join: what the drawing alone would hide.
    assert page.shown.count("As a table") >= 5
    last = curves.against_n()[-1]
    shown = f"{last.n}{wording.with_interval(last.accuracy)}"
    assert shown in page.shown
    best = curves.against_k()[0]
    assert f"{best.k}{wording.percent(best.k / best.n)}{wording.with_interval(best.accuracy)}" in page.shown
    zero = density.curves[-1].reached[density.zero]
    assert f"0{wording.with_interval(zero)}{wording.bounds(density.curves[-1].with_luck[density.zero])}" in page.shown


def test_form_and_content_are_told_apart(form: Summary, page: Page) -> None:
    assert form.evidence is not None and form.evidence.changes is not None
    t = form.evidence.changes.ensemble
    assert t.formatted > 0 and t.new > 0
    assert f"The vote gained {t.formatted + t.new} of {t.questions} questions. On {t.formatted} of them" in page.shown
    rows = files(page)["format-or-reasoning.csv"]
    assert [int(v) for v in rows[1][2:5]] == [t.formatted, t.new, t.lost]
    assert len(rows) == 2 + len(form.members)
    kinds = [row[6] for row in page.data["questions"]]
    assert [kinds.count(kind) for kind in ("formatted", "new", "lost")] == [t.formatted, t.new, t.lost]
    chips = [a["value"] for tag, a in page.tags if tag == "input" and a.get("name") == "question-filter"]
    assert chips == ["all", "gained", "formatted", "new", "lost", "silent", "split"]
    assert "Examples: same answer, better formatted" in page.shown


def test_what_chance_reaches_is_not_said_to_be_a_half(form: Summary, page: Page) -> None:
    found = form.evidence.density if form.evidence else None
    assert found is not None
    # A tie reaches the base too, so that the mark beside the sentence lies above a half.
    assert found.curves[-1].by_chance[found.zero] > 0.5
    assert "as good as the base reaches it at least every second time" in page.shown
    assert "about every second time" not in page.shown


def test_members_that_err_apart_are_not_told_to_err_together(form: Summary) -> None:
    assert form.evidence is not None and form.evidence.agreement is not None
    apart = replace(form.evidence.agreement, effective=5.0)
    shown = Page(render_report(replace(form, evidence=replace(form.evidence, agreement=apart)))).shown
    assert "5.0 of 5" in shown
    assert "it is usually well below 5" in shown


def test_luck_is_taken_off(form: Summary, page: Page) -> None:
    assert form.evidence is not None and form.evidence.shrinkage is not None and form.evidence.crossfit is not None
    best = form.evidence.shrinkage.members[0]
    assert f"{best.shrunk.value:.3f} is to be expected of it on new questions" in page.shown
    assert f"differs from the base by {form.evidence.crossfit.gain.value * 100:+.1f} points" in page.shown
    rows = files(page)["members.csv"]
    assert float(rows[1][rows[0].index("shrunken_score")]) == best.shrunk.value
    assert float(rows[1][rows[0].index("score")]) == form.members[0].score


def test_equal_runs_give_equal_pages(form: Summary) -> None:
    assert render_report(form) == render_report(form)
    assert render_json(form) == render_json(form)


def test_json_is_the_summary(form: Summary) -> None:
    def finite(text: str) -> Any:
        return json.loads(text, parse_constant=lambda _: None)

    found = json.loads(render_json(form), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    expected = finite(json.dumps(asdict(form)))
    for left_out in ("out", "progress"):
        expected["config"].pop(left_out, None)
    questions = [(found.pop("questions"), expected.pop("questions"))]
    answer = found.pop("answer")
    assert found == expected
    assert answer == {"sentences": list(sentences(form)), "missing": list(missing(form))}
    for short, whole in zip(*questions[0], strict=True):
        assert short["label"] == whole["label"]
        assert short["vote"]["correct"] == whole["correct"]
        assert short["base"]["key"] == whole["base"]["judgement"]["key"]
        assert [m["correct"] for m in short["members"]] == [m["judgement"]["correct"] for m in whole["members"]]


def test_markdown_has_the_tables(form: Summary) -> None:
    text = render_markdown(form)
    assert form.test is not None
    assert f"## Test: {form.test.questions} questions" in text
    assert "p (Holm)" in text
    assert "Not run: " in text
    for title in ("Format or reasoning?", "The vote", "How much is luck in choosing?", "The search", "Members", "Cost"):
        assert f"\n## {title}\n" in text
    # Every table is as wide as its head.
    for block in text.split("\n\n"):
        lines = block.strip().split("\n")
        if lines[0].startswith("| "):
            assert len({line.count(" | ") for line in lines}) == 1
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_markdown_claims_no_test_that_was_not_made(form: Summary) -> None:
    assert form.evidence is not None and form.evidence.shrinkage is not None
    assert "its lead over the base changed by" in render_markdown(form)
    untested = replace(form.evidence, shrinkage=replace(form.evidence.shrinkage, measured=None))
    text = render_markdown(replace(form, test=None, evidence=untested))
    assert "regression to the mean" in text
    assert "on the test" not in text


def several(summary: Summary) -> Summary:
    """As if the run were of two tasks, both with the questions of the one."""
    names = ("sums <a>", "letters")
    each = [
        PartFigures(
            name, 0.5, share(20, 40), summary.members, summary.test, summary.test, ((names[0], 1.0), (names[1], NAN))
        )
        for name in names
    ]
    return replace(summary, parts=tuple(each))


def whole(summary: Summary) -> Summary:
    """With everything that a run may have to tell: several tasks, a member that failed, failures, notes."""
    assert summary.test is not None
    test = replace(summary.test, members_failed=2)
    return replace(several(summary), test=test, failures=(("it is NaN", 3),), notes=("the device changed",))


def test_markdown_and_terminal_tell_what_the_page_tells(
    form: Summary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = whole(form)
    monkeypatch.setenv("COLUMNS", "300")
    print_summary(summary)
    shown, text = capsys.readouterr().out, render_markdown(summary)
    evidence, test = summary.evidence, summary.test
    assert evidence is not None and evidence.discordance is not None and evidence.curves is not None
    assert evidence.changes is not None and test is not None
    assert evidence.density is not None and evidence.agreement is not None and evidence.shrinkage is not None
    assert summary.members[0].held_out is not None
    first, last = evidence.agreement.additions[0], evidence.curves.against_n()[-1]
    assert first.over_rest is not None
    best = evidence.shrinkage.members[0].shrunk
    sigma = evidence.density.curves[0]
    told = [
        "2 of the 5 members could not be evaluated on the test",
        "3 × it is NaN",
        "the device changed",
        "Not run: ",
        f"On {evidence.changes.ensemble.formatted} of them",
        f"No answer that counts: base {wording.percent(test.base_abstained)}",
        wording.with_interval(evidence.density.curves[-1].reached[evidence.density.zero]),
        wording.percent(sigma.by_chance[evidence.density.zero]),
        "Spectral discordance: ",
        wording.points_with_interval(first.over_rest.difference),
        wording.with_interval(last.accuracy),
        f"{wording.decimal(best.value)} ({wording.decimal(best.low)} to {wording.decimal(best.high)})",
        *(b.title for b in summary.baselines if b.spent),
        *(wording.duration(b.spent.seconds) for b in summary.baselines if b.spent),
        wording.with_interval(summary.members[0].held_out),
        "letters",
    ]
    for words in told:
        assert words in text
        assert words.replace("\u202f", " ").replace("−", "-") in " ".join(shown.split())
    # One table is one table, wherever it is shown.
    tables = [sheet for chapter in chapters(summary) for sheet in chapter.sheets]
    assert text.count("| --- |") == len(tables)
    assert all(len(row) == len(t.columns) for t in tables for row in t.rows)
    assert not re.search(r"\bnan\b", shown.replace("it is NaN", ""), re.IGNORECASE)


def test_randopt_has_its_cost_beside_the_baselines(form: Summary, page: Page) -> None:
    rows = {row[0]: row for row in files(page)["cost-of-baselines.csv"]}
    mine = [c for c in form.costs if c.phase in ("search", "validation", "test")]
    assert len(mine) == 3
    found = dict(zip(rows["model"], rows["RandOpt@5"], strict=True))
    assert int(found["passes"]) == len(form.members)
    for name in ("models", "new_tokens", "prompt_tokens"):
        assert int(found[name]) == sum(getattr(c, name) for c in mine)
    assert int(found["models"]) > int(rows["best single member"][2])


def test_files_stand_alone(form: Summary, page: Page) -> None:
    found = {name: [dict(zip(rows[0], r, strict=True)) for r in rows[1:]] for name, rows in files(page).items()}
    assert form.test is not None and form.evidence is not None and form.evidence.curves is not None
    kept = {(float(r["sigma"]), int(r["candidate"])) for r in found["scores.csv"] if r["kept"] == "1"}
    assert kept == {(m.perturbation.sigma, m.candidate) for m in form.members}
    scores = {m.candidate: m.score for m in form.members}
    told = {int(r["candidate"]): float(r["score"]) for r in found["scores.csv"]}
    assert told.items() >= {c: round(score, 6) for c, score in scores.items()}.items()
    assert told == {c: round(s, 6) for f in form.sigmas for c, s in zip(f.candidates, f.scores, strict=True)}
    assert {float(r["base"]) for r in found["scores.csv"]} == {round(form.base_score, 6)}
    joined = found["accuracy-by-k.csv"]
    assert {(float(r["base"]), float(r["best_single"])) for r in joined} == {
        (form.test.base.value, form.test.best.value)
    }
    for name in ("accuracy-by-n.csv", "accuracy-by-members.csv", "accuracy-by-share.csv"):
        assert {float(r["base"]) for r in found[name]} == {round(form.evidence.curves.base, 6)}


def test_tasks_have_files(form: Summary) -> None:
    page = Page(render_report(several(form)))
    found = files(page)
    assert form.test is not None
    rows = [dict(zip(found["tasks.csv"][0], r, strict=True)) for r in found["tasks.csv"][1:]]
    assert [r["task"] for r in rows] == ["sums <a>", "letters"]
    assert float(rows[1]["best_at_it"]) == form.test.ensemble.value
    assert found["correlation-of-tasks.csv"][1] == ["sums <a>", "1.0", ""]
    # A page may be written elsewhere; that file is not.
    assert "candidates.csv in the run's folder" in page.shown
    unfinished = replace(several(form), parts=tuple(replace(p, own=None, shared=None) for p in several(form).parts))
    assert "Task by task" in Page(render_report(unfinished)).shown


def test_an_example_that_nobody_answered_is_told_as_that(form: Summary) -> None:
    assert form.evidence is not None and form.evidence.changes is not None
    lost = Difference(0, "q", "lost", "1", None)
    quiet = replace(form.questions[0], vote=Vote(None, None, 0.0, {}, 5))
    told = replace(
        form,
        questions=(quiet, *form.questions[1:]),
        evidence=replace(form.evidence, changes=replace(form.evidence.changes, differences=(lost,))),
    )
    shown = Page(render_report(told)).shown
    assert "No member gave an answer that counts, so there is no text that stands for the vote." in shown
    assert "The text was not kept" not in shown


def test_the_bars_of_many_members_are_not_all_drawn(form: Summary) -> None:
    assert form.evidence is not None and form.evidence.changes is not None
    found = form.evidence.changes
    many = replace(found, members=found.members * 10, candidates=tuple(range(50)))
    shown = changes.render(many)
    assert shown.sheet is not None
    assert len(shown.sheet.rows) == 51
    assert "member 13" not in shown.alternative
    assert "The first 12 members; the table has all 50." in shown.caption
    assert len(shown.data.splitlines()) == 52


def test_words_from_outside_do_nothing_in_markdown(form: Summary) -> None:
    evil = "<script>alert(1)</script> | [x](http://e) `c` \ud800"
    text = render_markdown(replace(form, name=evil, baselines=tuple(replace(b, title=evil) for b in form.baselines)))
    text.encode()
    assert "<script>" not in text
    assert "](http" not in text.replace("\\]", "")
    assert re.search(r"\\<script\\>", text)


def test_what_a_model_wrote_is_inert_in_the_examples(form: Summary) -> None:
    evil = '</div><script>alert(1)</script><img src=x onerror="alert(1)">'

    def said(o: Any) -> Any:
        return replace(o, text=evil, judgement=Judgement(o.judgement.reward, o.judgement.correct, evil))

    questions = tuple(
        replace(q, label=evil, prompt=evil, base=said(q.base), members=tuple(map(said, q.members)))
        for q in form.questions
    )
    found = Page(render_report(replace(form, questions=questions)))
    assert not found.open
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert sum(tag == "script" for tag, _ in found.tags) == 2
    assert evil in "".join(found.texts["div"])


def test_an_unfinished_run_claims_nothing_in_any_form(make_summary: Callable[..., Summary]) -> None:
    summary = make_summary(finished=False)
    assert sentences(summary) == missing(summary) == standings(summary) == ()
    assert "This run is not finished" in render_markdown(summary)
    assert "RandOpt@" not in render_markdown(summary)
    assert json.loads(render_json(summary))["test"] is None


def test_a_run_without_evidence_or_baselines_still_renders(form: Summary) -> None:
    bare = replace(form, evidence=None, baselines=())
    found = Page(render_report(bare))
    assert "form" not in {a.get("id") for _, a in found.tags}
    assert [s.kind for s in standings(bare)] == ["base", "vote"]
    assert "p (Holm)" not in render_markdown(bare)


def test_each_of_several_tasks_has_its_row(form: Summary) -> None:
    found = Page(render_report(several(form)))
    assert not found.open
    assert form.test is not None
    assert "Task by task" in found.shown
    right = f"{form.test.ensemble.value * 100:.1f}"
    assert re.search(rf"sums <a>\s*{form.test.questions}.*{right}", found.shown)
    assert "Specialists or generalists?" in found.shown
    assert json.loads(render_json(several(form)))["parts"][0]["correlation"][1] == ["letters", None]


def test_candidates_that_failed_are_counted_and_named(make_summary: Callable[..., Summary]) -> None:
    summary = make_summary()
    html = Page(render_report(summary))
    assert "Candidates that could not be scored 2 × the logits of 3 of 200 prompts are NaN" in html.shown
    rows = files(html)["density-by-sigma.csv"]
    assert [int(row[2]) for row in rows[1:]] == [
        *(s.failed for s in summary.sigmas),
        sum(s.failed for s in summary.sigmas),
    ]


def test_commands_in_a_sentence_are_set_as_code(form: Summary) -> None:
    assert form.evidence is not None
    told = replace(form.evidence, gate=Gate(None, "Not known (`thickets baseline RUN <x>` does it)."))
    html = render_report(replace(form, evidence=told))
    assert "Not known (<code>thickets baseline RUN &lt;x&gt;</code> does it)." in html


@pytest.mark.parametrize("candidates", [0, 1, 3, 12])
def test_a_run_is_reported_at_any_point_of_its_search(candidates: int, tmp_path: Path) -> None:
    answers = [[right() if (i * (c + 2)) % 3 else wrong() for i in range(6)] for c in range(candidates + 1)]
    models: dict[int | None, Any] = {None: answers[0]} | {c: answers[c + 1] for c in range(candidates)}
    if candidates == 12:
        models[11] = []  # one that failed
    with make_run(tmp_path / "run", {"selection": models}) as run:
        summary = summarise(run, in_depth=True)
    found = Page(render_report(summary))
    assert not found.open
    assert "nothing here that a claim could rest on" in found.shown
    assert "RandOpt@" not in found.shown
    assert not re.search(r"\bnan\b", found.shown.replace("1 × NaN", ""), re.IGNORECASE)
    assert all(len(rows) > 1 for rows in files(found).values())
    json.loads(render_json(summary))
    assert "nothing here that a claim could rest on" in render_markdown(summary)


def test_without_test_questions_the_gate_still_says_what_it_found(form: Summary) -> None:
    assert form.evidence is not None
    sizes = {**form.sizes, "test": 0}
    untested = replace(form, test=None, questions=(), sizes=sizes)
    gate = form.evidence.gate.sentence
    assert sentences(untested) == (gate,)
    assert f"**{typeset(gate)}**" in render_markdown(untested)
    found = Page(render_report(untested))
    assert typeset(gate) in found.shown
    assert "nothing says how large a gain is" in found.shown
    assert "nothing here that a claim could rest on" not in found.shown
    assert json.loads(render_json(untested))["answer"]["sentences"] == [gate]
    # What has not been answered yet decides nothing.
    assert sentences(replace(untested, validation=None)) == sentences(replace(untested, sizes=form.sizes)) == ()


def test_a_vote_of_one_is_told_without_a_vote(tmp_path: Path) -> None:
    split = {None: [wrong(), right(), wrong(None)] * 4, 0: [right(), right(), wrong()] * 4, 1: [wrong()] * 12}
    with make_run(tmp_path / "run", {"selection": split, "validation": split, "test": split}, members=[0]) as run:
        summary = summarise(run, in_depth=True)
    found = Page(render_report(summary))
    assert "votes" not in {a.get("id") for _, a in found.tags}
    assert "With one member there is no vote" in found.shown
    assert "Whether 1 sample of the base would do as well was not decided" in found.shown
    assert sentences(summary)[0].startswith("Whether 1 sample")
