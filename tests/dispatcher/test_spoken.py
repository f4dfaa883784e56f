"""Which task a message speaks of: what reading it whole says, and never less."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import BadMessage
from contract.task import Task
from dispatcher.spoken import task_key
from tests.dispatcher.tasks import URL, order

IDS = st.one_of(st.integers(-5, 2**53), st.text(max_size=12), st.from_regex(r"[a-z0-9._-]{1,9}"))


def whole(raw: bytes) -> str:
    """The answer of reading it whole."""
    try:
        return Task.parse(raw).key
    except BadMessage:
        return ""


@given(IDS, st.booleans(), st.text(max_size=20))
def test_every_order_is_found_as_reading_it_whole_finds_it(
    task_id: object, ascii_only: bool, note: str
) -> None:
    fields = {"note": note, "taskId": task_id, "courseUrl": URL, "email": "a@b.c"}
    raw = json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if whole(raw):
        assert task_key(raw) == whole(raw)


@pytest.mark.parametrize(
    "text",
    [
        '{"task\\u0049d":7,"courseUrl":"%s"}',
        '{"taskId":1,"courseUrl":"%s","taskId":2}',
        '{"x":{"taskId":1},"taskId":2,"courseUrl":"%s"}',
        '{"taskId":"\\u0037","courseUrl":"%s"}',
        '{"taskId":" 7 ","courseUrl":"%s"}',
        '{ "taskId" : 7 , "courseUrl":"%s"}',
        '{"taskId":007,"courseUrl":"%s"}',
        '{"taskId":-0,"courseUrl":"%s"}',
        '{"taskId":7.0,"courseUrl":"%s"}',
        '{"taskId":7e1,"courseUrl":"%s"}',
    ],
)
def test_odd_spellings_are_read_whole(text: str) -> None:
    raw = (text % URL).encode()
    assert task_key(raw) == whole(raw)


def test_what_is_no_order_speaks_of_nothing() -> None:
    assert task_key(b"nonsense") == task_key(b"") == task_key(b"\xff{}") == ""
    assert task_key(order(999)) == "999"
