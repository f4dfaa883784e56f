"""The published schema of the message says what the reader of messages does.

What the schema accepts must be an order; what is no order must be refused by the schema. The few
things that JSON Schema cannot say are named in `beyond_schema`, and nothing else is forgiven.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from contract.errors import BadMessage
from contract.task import DEPTH_LIMIT, MESSAGE_LIMIT, Task

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCHEMA = json.loads((REPOSITORY / "docs" / "message.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
URL = "https://www.udemy.com/course/test-course/"
LEAST = {"taskId": 999, "courseUrl": URL}
FIELDS = sorted(SCHEMA["properties"])


def is_order(message: object) -> bool:
    """Whether course-runner takes it."""
    try:
        Task.parse(json.dumps(message).encode())
    except BadMessage:
        return False
    return True


def fits(message: object) -> bool:
    """Whether the schema takes it."""
    return VALIDATOR.is_valid(message)


def beyond_schema(message: object) -> bool:
    """Whether a message is wrong in a way that JSON Schema has no words for."""
    if len(json.dumps(message)) > MESSAGE_LIMIT // 5 or depth(message) > DEPTH_LIMIT:
        return True
    known = [v for k, v in message.items() if k in FIELDS] if isinstance(message, dict) else []
    return any(
        (isinstance(value, float) and value.is_integer())
        or (isinstance(value, str) and any(unicodedata.category(c) == "Cn" for c in value))
        for value in inside(known)
    )


def inside(value: object) -> Iterator[object]:
    """The value and all that it holds."""
    yield value
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in held:
        yield from inside(one)


def depth(value: object) -> int:
    """Levels of nesting, counted without recursion."""
    level, count = [value], 0
    while level := [
        inner
        for one in level
        if isinstance(one, dict | list)
        for inner in (one.values() if isinstance(one, dict) else one)
        if isinstance(inner, dict | list)
    ]:
        count += 1
    return count + 1


# --- what may come --------------------------------------------------------------------------------
characters = st.characters(exclude_categories=[])
texts = st.one_of(
    st.text(characters, max_size=12),
    st.text(st.sampled_from(' a0Ω😀\n\t\x7f\u00a0\u200b\ue000\ud800-_.:/?#@%[]\\"'), max_size=12),
)
sizes = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,3})?(Ki|Mi|Gi|k|M|G|gi| GB)?\n?", fullmatch=True)
ports = st.sampled_from(["", ":", ":0", ":80", ":65535", ":65536", ":99999", ":x", ":-1", ":٣"])
hosts = texts | st.sampled_from(["host", "www.udemy.com", "u@host", "u:p@host", "@", "kurse.de."])
urls = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(
        ["https://", "http://", "HTTPS://", "ftp://", "//", "https:/", " https://", ""]
    ),
    hosts,
    ports,
    st.sampled_from(["/", "", "//", "/course/x/", "/a", "?a=/b", "#/b", "/?x", "/ /", "//x"]),
    st.just("") | texts,
)
whole = st.one_of(st.integers(), st.integers(-(2**54), 2**54), st.integers(-1_000_002, 1_000_002))
edges = st.sampled_from([2**53, 2**53 - 1, -(2**53), 1_000_001, 2**20, 2**20 - 1, 10**18, 0, -1])
values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), whole, edges, st.floats(allow_nan=False, allow_infinity=False),
    texts, sizes, urls, st.lists(texts, max_size=3), st.lists(st.integers() | texts, max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip
messages = st.builds(
    lambda some, without: {k: v for k, v in {**LEAST, **some}.items() if k not in without},
    st.dictionaries(st.sampled_from([*FIELDS, "tenant", ""]), values, max_size=3),
    st.just(()) | st.sampled_from([("taskId",), ("courseUrl",)]),
)


@given(messages)
def test_what_the_schema_accepts_is_an_order(message: dict[str, Any]) -> None:
    if fits(message) and not beyond_schema(message):
        assert is_order(message)


@given(st.sampled_from(FIELDS), values)
def test_what_is_no_order_is_refused_by_the_schema(name: str, value: object) -> None:
    message = {**LEAST, name: value}
    if not is_order(message) and not beyond_schema(message):
        assert not fits(message)


@given(st.sampled_from(sorted({*FIELDS} - {"courseUrl", "volumeSize"})), values)
def test_every_field_but_two_is_described_exactly(name: str, value: object) -> None:
    """Of addresses and sizes the schema knows the usual forms only; all else agrees both ways."""
    message = {**LEAST, name: value}
    if not beyond_schema(message):
        assert fits(message) == is_order(message)


@given(urls)
def test_addresses_agree_where_the_host_is_an_ordinary_name(url: str) -> None:
    message = {**LEAST, "courseUrl": url}
    host = re.match(r"(?i)https?://([a-z0-9.-]+)", url)
    if host and not beyond_schema(message) and "[" not in url and url.count("@") < 2:
        assert fits(message) == is_order(message)


# --- what must not be left out --------------------------------------------------------------------
def test_the_schema_is_valid_itself() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("field", "value"),
    [(name, one) for name, said in SCHEMA["properties"].items() for one in said.get("examples", ())]
    + [("volumeSize", each) for each in ("1Mi", "2M", "5Gi", "20Gi", "1.5Ti", 21474836480)]
    + [("courseUrl", each) for each in ("http://localhost:8080/course/a/", "https://ü.de/k/ü")],
)
def test_every_example_is_an_order_and_fits(field: str, value: object) -> None:
    message = {**LEAST, field: value}
    assert is_order(message)
    assert fits(message)


def test_the_message_of_the_old_backend_fits() -> None:
    for example in SCHEMA["examples"]:
        assert is_order(example)
        assert fits(example)


@pytest.mark.parametrize(
    "message", [None, [], "{}", 1, True, {}, {"taskId": 1}, {"courseUrl": URL}]
)
def test_what_is_no_object_or_lacks_a_field_is_refused_by_both(message: object) -> None:
    assert not is_order(message)
    assert not fits(message)


def test_the_characters_that_the_schema_refuses_are_those_that_the_reader_refuses() -> None:
    """All of Unicode, but for what it has not assigned."""
    refused = re.compile(SCHEMA["$defs"]["plain"]["not"]["pattern"])
    known = (c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) != "Cn")
    differ = [f"U+{ord(c):04X}" for c in known if bool(refused.match(c)) == c.isprintable()]
    assert differ == []


def test_the_fields_are_those_that_the_reader_knows() -> None:
    """A field that is read but not described, or the other way round, would be a trap."""
    read = [each.name for each in fields(Task) if each.name != "extra"]
    spelt = [re.sub("_(.)", lambda found: found[1].upper(), name) for name in read]
    assert sorted(spelt) == FIELDS
