r"""Whether a text gives the right answer, in whatever form: the rule that tells bad form from a wrong answer.

Knows nothing of models; a task whose answers are no words or numbers has a rule of its own (`Task.holds`).

The text a model wrote is searched in the places where an answer is given, and nowhere else, since the right number may
stand in any calculation by accident:

1. marked: in `<answer>…</answer>`, in `\boxed{…}`, behind `####`;
2. announced: behind "answer", "solution", "label", "choice" and the like with "is", ":" or "=", also at the end of the
   line before; a first line that is a number by itself;
3. concluded: behind "result", "total" or "output" with the same; in a sentence that begins with "therefore", "thus",
   "hence", "finally" or "in conclusion"; in the last line; for words and letters also in a first line that is short.

A place with a negation in it ("not", "never", "neither") does not count. A number or a formula counts where the text
gives it in the end: in the last place of the strongest of these three kinds that gives any, there the first behind a
mark or an announcement, or the last of a sentence or a closing line. What follows where the text goes on with another
question ("Question: …") does not count, nor does anything that is taken back afterwards ("Wait, …", "Actually …"), and
a text that gives more than three different numbers in such places gives none. A letter or a word counts only where all
places of the text that give any give this one, and no other known answer to the question. Case, bold type, thousands
commas, currency and per cent signs and simple LaTeX fractions do not matter. When in doubt the answer is no.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from thickets.tasks.answers import canonical_number, last_boxed, last_tag, numbers

# More different ones in the places of an answer are guesses.
_MOST_ANSWERS = 3
# A first line of so many words may be the answer by itself; a longer one begins an explanation.
_SHORT = 3
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Of a text that repeats itself, its ends are enough.
_MOST_CHARACTERS = 20_000
_MOST_PLACES = 200

_NOUNS = "answer|solution|label|class|category|sentiment|choice|option|order|verdict|conclusion"
# Of these there may be several on the way to an answer.
_ON_THE_WAY = "result|total|output"
_ANNOUNCED = re.compile(
    rf"\b(?:{_NOUNS}|(?P<way>{_ON_THE_WAY}))\b[^\n.:=]{{0,40}}?"
    r"(?:\bis\b|\bare\b|\bwould be\b|:|=)[ \t*_`]*\n?(?=(?P<rest>[^\n]{1,200}))",
    re.IGNORECASE,
)
_CONCLUDED = re.compile(
    r"\b(?:therefore|thus|hence|finally|in conclusion)\b(?P<rest>(?:[^\n.]|\.(?=\d)){1,200})", re.IGNORECASE
)
_HASHES = re.compile(r"####(?P<rest>[^\n#]{1,200})")
# Where a model goes on with a question of its own making.
_NEXT = re.compile(
    r"^[\s*#_>]*(?:question|q|problem|exercise|example|user|human|student)\b\s*\d*[\s*_]*(?:[:.)]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_RETRACTED = re.compile(
    r"\b(?:wait|actually|correction|oops|mistaken?|forgot|wrong|incorrect|re-?check|let me redo|on second thought)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"\.(?!\d)|[!?;]")
_NEGATED = re.compile(r"\b(?:not|never|neither|nor|cannot|no longer)\b|n['’]t\b", re.IGNORECASE)
# A bare letter counts behind an announcement, but not the article in "the answer is A dog"; elsewhere it is marked.
_LETTER = re.compile(r"[\s*_`\"']*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Z])(?![A-Za-z'’]|(?<=[AI])\s[a-z]))")
_MARKED = re.compile(r"[\s*_`\"']*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Z])(?=[\s*_`\"']{0,4}(?:[).:\]]|\Z)))")
_BRACKETED = re.compile(r"\(([A-Z])\)")


@dataclass(frozen=True)
class Right:
    """What is known of the right answer to one question, from answers that were judged on it.

    `keys` are the vote keys of right answers and `texts` some right completions; `rivals` are keys that are not right
    here. `columns` are the example's own.
    """

    keys: frozenset[str]
    texts: tuple[str, ...] = ()
    rivals: frozenset[str] = frozenset()
    columns: Mapping[str, Any] = field(default_factory=dict)


class Strength(IntEnum):
    """How plainly a place says that this is the answer."""

    CONCLUDED = 1
    ANNOUNCED = 2
    MARKED = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of text that gives an answer: what counts is its beginning or, where `closing`, its end.

    `at` is where that beginning or end is in the text that was searched.
    """

    text: str
    closing: bool
    strength: Strength
    at: int


def holds(text: str, right: Right) -> bool:
    """Whether `text` gives a right answer whatever its form, by the rule above. Never raises."""
    wanted = {key: canonical_number(key) for key in right.keys}
    given = final(text, _number_of)
    if given is not None and given in wanted.values():
        return True
    found = list(places(text))
    return any(_holds(found, key, right) for key, number in wanted.items() if number is None)


def places(text: str) -> Iterator[Place]:
    """Where `text` gives an answer, none of them negated."""
    for number, place in enumerate(_places(_ends(text))):
        if number == _MOST_PLACES:
            return
        if place.text.strip() and not _NEGATED.search(place.text):
            yield place


def final(text: str, read: Callable[[Place], str | None]) -> str | None:
    """What `text` gives in the end, of what `read` finds in a place; `None` where there is none, or doubt."""
    text = _ends(text)
    for match in _NEXT.finditer(text):
        # One at the very beginning is the question itself, said again.
        if text[: match.start()].strip():
            text = text[: match.start()]
            break
    read_off = [(place, value) for place in places(text) if (value := read(place)) is not None]
    if not read_off or len({value for _, value in read_off}) > _MOST_ANSWERS:
        return None
    last, value = max(read_off, key=lambda entry: (entry[0].strength, entry[0].at))
    return None if _RETRACTED.search(text, last.at) else value


def _ends(text: str) -> str:
    if len(text) <= 2 * _MOST_CHARACTERS:
        return text
    return text[:_MOST_CHARACTERS] + "\n" + text[-_MOST_CHARACTERS:]


def _places(text: str) -> Iterator[Place]:
    for marked in (last_tag(text), last_boxed(text)):
        if marked is not None:
            yield Place(marked, False, Strength.MARKED, text.rfind(marked))
    for match in _HASHES.finditer(text):
        yield Place(match["rest"], False, Strength.MARKED, match.start())
    for match in _ANNOUNCED.finditer(text):
        strength = Strength.CONCLUDED if match["way"] else Strength.ANNOUNCED
        yield Place(_first_sentence(match["rest"]), False, strength, match.start())
    for match in _CONCLUDED.finditer(text):
        yield Place(match["rest"], True, Strength.CONCLUDED, match.end())
    lines = [line for line in text.splitlines() if line.strip()]
    if lines:
        yield Place(lines[-1][-300:], True, Strength.CONCLUDED, len(text))
        if len(lines) > 1 and len(lines[0].split()) <= _SHORT:
            alone = canonical_number(lines[0]) is not None
            strength = Strength.ANNOUNCED if alone else Strength.CONCLUDED
            yield Place(lines[0], True, strength, text.find(lines[0]) + len(lines[0]))


def _first_sentence(text: str) -> str:
    end = _SENTENCE.search(text)
    return text if end is None or not text[: end.start()].strip() else text[: end.start()]


def _holds(found: list[Place], key: str, right: Right) -> bool:
    if len(key) == 1 and key in _LETTERS:
        return _gives_letter(found, key, _choices(right.columns, key))
    return _gives_words(found, key, right.rivals)


def _number_of(place: Place) -> str | None:
    values = numbers(place.text)
    return values[-1 if place.closing else 0] if values else None


def _gives_letter(found: list[Place], wanted: str, choices: tuple[str, ...]) -> bool:
    given = set()
    for place in found:
        named = (_MARKED if place.closing else _LETTER).match(place.text)
        bracketed = set(_BRACKETED.findall(place.text))
        if len(bracketed) > 1:
            return False
        if named:
            given.add(next(letter for letter in named.groups() if letter).upper())
        elif bracketed:
            given |= bracketed
        else:
            given |= {letter for letter, words in zip(_LETTERS, choices, strict=False) if _stands_in(words, place.text)}
    return given == {wanted}


def _choices(columns: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The choices in words, where exactly one column lists as many texts as the letter needs; else none."""
    lists = [v.get("text") if isinstance(v, Mapping) else v for v in columns.values()]
    found = [v for v in lists if isinstance(v, list) and len(v) > _LETTERS.index(key)]
    return tuple(map(str, found[0])) if len(found) == 1 and len(found[0]) <= len(_LETTERS) else ()


def _gives_words(found: list[Place], wanted: str, rivals: frozenset[str]) -> bool:
    given = False
    for place in found:
        # A rival that is a piece of the right answer ("rock" of "hard rock") is no rival.
        left = _without(wanted, place.text)
        if any(_stands_in(rival, left) for rival in rivals):
            return False
        given = given or left != _plain(place.text)
    return given


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[*_`\"“”]", " ", text).casefold().split())


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(_plain(words))}(?!\w)")


def _stands_in(words: str, text: str) -> bool:
    # Most known answers stand nowhere in a text: the cheap question first.
    plain = _plain(words)
    return bool(plain) and plain in (whole := _plain(text)) and _pattern(words).search(whole) is not None


def _without(words: str, text: str) -> str:
    return _pattern(words).sub(" … ", _plain(text)) if _plain(words) else _plain(text)
