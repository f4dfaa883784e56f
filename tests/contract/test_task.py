"""The queue message: read without mercy, written back without losing a field."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import BadMessage
from contract.outcome import ExitCode
from contract.task import DEPTH_LIMIT, ID_LIMIT, MESSAGE_LIMIT, WHOLE_NUMBER_LIMIT, Task

URL = "https://www.udemy.com/course/test-course/"
LEAST = {"taskId": 999, "courseUrl": URL}


def message(**fields: object) -> bytes:
    """An order with some fields set otherwise."""
    return json.dumps({**LEAST, **fields}).encode()


def refused(raw: bytes) -> BadMessage:
    """Parse what must be refused."""
    with pytest.raises(BadMessage) as caught:
        Task.parse(raw)
    return caught.value


def test_the_message_of_the_old_backend_is_an_order() -> None:
    raw = b'{"taskId":999,"email":"test@example.com","courseUrl":"%s"}' % URL.encode()
    task = Task.parse(raw)
    assert (task.task_id, task.email, task.course_url) == (999, "test@example.com", URL)
    assert task.key == "999"
    assert not task.force


def test_all_optional_fields_are_read() -> None:
    task = Task.parse(
        message(quality=720, captions=["en", "de"], volumeSize="50Gi", priority=-3, force=True)
    )
    assert (task.quality, task.captions, task.volume_size) == ("720", "en,de", "50Gi")
    assert (task.priority, task.force) == (-3, True)


def test_a_volume_size_may_be_given_in_bytes() -> None:
    assert Task.parse(message(volumeSize=21474836480)).volume_size == "21474836480"


def test_absent_null_and_empty_texts_are_the_same() -> None:
    empty = Task.parse(message(email="", quality=None, captions=[], volumeSize="", force=None))
    assert empty == Task.parse(message())


def test_the_id_keeps_its_json_type_and_equal_texts_are_one_task() -> None:
    number, text = Task.parse(message(taskId=7)), Task.parse(message(taskId="7"))
    assert (number.task_id, text.task_id) == (7, "7")
    assert number.key == text.key
    assert '"taskId":7,' in number.dump()
    assert '"taskId":"7",' in text.dump()


# --- whatever it is, it comes back ----------------------------------------------------------------
plain = st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), min_size=1, max_size=40)
ids = st.integers(-WHOLE_NUMBER_LIMIT + 1, WHOLE_NUMBER_LIMIT - 1) | plain
words = st.none() | plain
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KNOWN = {"taskId", "courseUrl", "email", "quality", "captions", "volumeSize", "priority", "force"}
extras = st.dictionaries(st.text().filter(lambda name: name not in KNOWN), json_values, max_size=4)
tasks = st.builds(
    Task,
    task_id=ids,
    course_url=plain.map(lambda name: f"https://host/course/{name.strip('/?#') or 'x'}x/"),
    email=words,
    quality=words,
    captions=words,
    volume_size=st.none() | st.from_regex(r"[1-9][0-9]{0,4}(Gi|Mi|T)", fullmatch=True),
    priority=st.integers(-1_000_000, 1_000_000),
    force=st.booleans(),
    extra=extras.map(MappingProxyType),
)


@given(tasks)
def test_a_task_written_and_read_is_the_same_task(task: Task) -> None:
    again = Task.parse(task.dump().encode("utf-8"))
    assert again == task
    assert type(again.task_id) is type(task.task_id)


@given(tasks)
def test_what_is_written_is_json_that_others_read(task: Task) -> None:
    """No NaN, no lone surrogate as a raw character: both would stop other parsers."""

    def never(text: str) -> float:
        raise AssertionError(text)

    data = json.loads(task.dump().encode("utf-8"), parse_constant=never)
    for name, value in task.extra.items():
        assert data[name] == value


@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_give_a_task_or_a_bad_message_and_nothing_else(raw: bytes) -> None:
    try:
        Task.parse(raw)
    except BadMessage as exc:
        assert exc.raw == raw
        assert exc.summary


@given(st.sampled_from(sorted(KNOWN)), json_values)
def test_any_value_in_any_field_gives_a_task_or_an_error_that_names_the_field(
    name: str, value: object
) -> None:
    raw = message(**{name: value})
    try:
        task = Task.parse(raw)
    except BadMessage as exc:
        assert f'"{name}"' in exc.summary
        assert exc.raw == raw
    else:
        assert Task.parse(task.dump().encode()) == task


def test_unknown_fields_travel_on_untouched() -> None:
    strange = {"tenant": {"a": [1, 2.5, None, "ü€😀"]}, "": 0, "taskid": 5, "half": "\ud800"}
    task = Task.parse(message(**strange))
    assert dict(task.extra) == strange
    assert {k: v for k, v in json.loads(task.dump()).items() if k in strange} == strange


# --- what is no order -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("taskId", None),
        ("taskId", True),
        ("taskId", 1.5),
        ("taskId", [1]),
        ("taskId", ""),
        ("taskId", "   "),
        ("taskId", "a\nb"),
        ("taskId", "\ud800"),
        ("taskId", "x" * (ID_LIMIT + 1)),
        ("taskId", WHOLE_NUMBER_LIMIT),
        ("taskId", -WHOLE_NUMBER_LIMIT),
        ("courseUrl", None),
        ("courseUrl", 5),
        ("courseUrl", ""),
        ("courseUrl", "www.udemy.com/course/x/"),
        ("courseUrl", "ftp://host/course/x/"),
        ("courseUrl", "file:///etc/passwd"),
        ("courseUrl", "https://"),
        ("courseUrl", "https:///course/x"),
        ("courseUrl", "https://host"),
        ("courseUrl", "https://host/"),
        ("courseUrl", "https://[::1/course/x/"),
        ("courseUrl", "https://host:99999/course/x/"),
        ("courseUrl", "https://host:port/course/x/"),
        ("courseUrl", "https://host/course/x\n/"),
        ("courseUrl", "https://host/course/\ud800/"),
        ("email", {"a": 1}),
        ("email", True),
        ("email", "a\x00b"),
        ("email", "half \udfff pair"),
        ("quality", [720]),
        ("quality", "7\t20"),
        ("captions", [1]),
        ("captions", ["en", "d\ne"]),
        ("captions", {"en": True}),
        ("volumeSize", "20 GB"),
        ("volumeSize", "0Gi"),
        ("volumeSize", "-5Gi"),
        ("volumeSize", "20gi"),
        ("volumeSize", 20),
        ("volumeSize", "500k"),
        ("volumeSize", "9" * 400 + "Gi"),
        ("volumeSize", True),
        ("priority", "high"),
        ("priority", 1.5),
        ("priority", True),
        ("priority", 1_000_001),
        ("force", "yes"),
        ("force", 1),
    ],
)
def test_a_bad_field_is_named_and_the_bytes_are_kept(field: str, value: object) -> None:
    raw = message(**{field: value})
    error = refused(raw)
    assert f'"{field}"' in error.summary
    assert error.raw == raw
    assert error.code == ExitCode.BAD_INPUT


@pytest.mark.parametrize("field", ["taskId", "courseUrl"])
def test_a_missing_field_is_said_to_be_missing(field: str) -> None:
    raw = json.dumps({k: v for k, v in LEAST.items() if k != field}).encode()
    assert f'"{field}" is missing' in refused(raw).summary


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(refused(message(force="x" * 5000)).summary) < 200


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"{", b"999", b"null", b"[]", b'"{}"', b"\x00"])
def test_what_is_no_json_object_is_refused_with_its_bytes(raw: bytes) -> None:
    assert refused(raw).raw == raw


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_json_does_not_know_are_refused(number: str) -> None:
    """Kept, they would be written back as NaN or Infinity, which the job could not read."""
    raw = f'{{"taskId":1,"courseUrl":"{URL}","x":[{number}]}}'.encode()
    assert refused(raw).raw == raw


def test_a_number_of_five_thousand_digits_is_refused_and_not_a_crash() -> None:
    raw = f'{{"taskId":1,"courseUrl":"{URL}","x":{"9" * 5000}}}'.encode()
    assert refused(raw).raw == raw


def test_of_a_repeated_key_the_last_one_counts_as_in_javascript() -> None:
    raw = f'{{"taskId":1,"taskId":2,"courseUrl":"{URL}"}}'.encode()
    assert Task.parse(raw).task_id == 2


def nested(levels: int) -> bytes:
    """An order whose field x holds lists, so many levels deep in all."""
    lists = levels - 1
    return message(x=0).replace(b'"x": 0', b'"x": ' + b"[" * lists + b"]" * lists)


def test_nesting_is_allowed_up_to_a_limit_and_refused_above() -> None:
    """Deeper, the dispatcher could read a message and then overflow writing it."""
    assert Task.parse(nested(DEPTH_LIMIT)).extra["x"]
    assert "levels" in refused(nested(DEPTH_LIMIT + 1)).summary
    assert refused(nested(20_000)).raw == nested(20_000)


def test_64_kib_are_allowed_and_a_byte_more_is_not() -> None:
    room = MESSAGE_LIMIT - len(message(pad=""))
    full = message(pad="x" * room)
    assert len(full) == MESSAGE_LIMIT
    assert Task.parse(full).extra["pad"] == "x" * room
    error = refused(message(pad="x" * (room + 1)))
    assert str(MESSAGE_LIMIT) in error.summary
    assert len(error.raw) == MESSAGE_LIMIT + 1


@pytest.mark.parametrize("text", ["ü" * 30_000, "漢" * 20_000, "😀" * 15_000, "\\" * 30_000])
def test_a_message_in_any_script_is_not_longer_when_written_back(text: str) -> None:
    """The record on the volume and the job's environment must take every order that was taken."""
    raw = json.dumps({**LEAST, "note": text}, ensure_ascii=False, separators=(",", ":")).encode()
    written = Task.parse(raw).dump().encode("utf-8")
    assert len(written) <= len(raw)
    assert Task.parse(written).extra["note"] == text


def test_a_message_that_would_grow_beyond_the_limit_when_written_back_is_refused() -> None:
    raw = message(x=0).replace(b'"x": 0', b'"x": [' + b",".join([b"1e15"] * 12_000) + b"]")
    assert len(raw) < MESSAGE_LIMIT
    assert "bytes" in refused(raw).summary
