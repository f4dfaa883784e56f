"""Quizzes, practice tests and coding exercises as one readable page. Pure, and never fails.

Goes in: the platform's list of assessments: texts in HTML, answers by letter, files of code; every
field may be missing, null or of another type. Comes out: HTML. The answers stand behind a line to
click on, so that the page can still be used as a test.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_FILES = (
    ("initial_files", "To begin with"),
    ("test_files", "Test"),
    ("solution_files", "Solution"),
)


def body(assessments: Iterable[Any]) -> str:
    """Return the body of a page with all questions, in the platform's order."""
    found = [one for one in assessments if isinstance(one, dict)]
    return "\n".join(_section(number, one) for number, one in enumerate(found, 1))


def _section(number: int, one: Mapping[str, Any]) -> str:
    prompt = one.get("prompt")
    prompt = prompt if isinstance(prompt, dict) else {}
    text = _text(prompt, "question") or _text(prompt, "instructions") or _plain(one)
    parts = [f"<section><h2>{number}</h2>", f"<div>{text}</div>"]
    parts += _answers(prompt)
    parts += _files(prompt)
    parts += _solution(one, prompt)
    return "\n".join([*parts, "</section>"])


def _plain(one: Mapping[str, Any]) -> str:
    return html.escape(_text(one, "question_plain"))


def _answers(prompt: Mapping[str, Any]) -> Iterator[str]:
    answers = prompt.get("answers")
    if isinstance(answers, list) and answers:
        yield '<ol type="a">'
        yield from (f"<li>{_any(one)}</li>" for one in answers)
        yield "</ol>"


def _files(prompt: Mapping[str, Any]) -> Iterator[str]:
    for field, word in _FILES:
        files = prompt.get(field)
        for one in files if isinstance(files, list) else ():
            if isinstance(one, dict):
                name = html.escape(_text(one, "file_name") or "unnamed")
                code = html.escape(_text(one, "content"))
                shown = f"<pre>{code}</pre>"
                yield f"<details><summary>{word}: {name}</summary>{shown}</details>"


def _solution(one: Mapping[str, Any], prompt: Mapping[str, Any]) -> Iterator[str]:
    given = one.get("correct_response")
    right = ", ".join(_any(each) for each in given) if isinstance(given, list) else ""
    why = _text(prompt, "explanation")
    if right or why:
        yield f"<details><summary>Answer</summary><p>{right}</p><div>{why}</div></details>"


def _any(value: object) -> str:
    """Return a text as it is, a number as text, and nothing for what is neither."""
    return str(value) if isinstance(value, str | int | float) else ""


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""
