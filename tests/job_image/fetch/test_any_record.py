"""What lies on the volume or comes in headers may be anything: it is read, or counts as nothing."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from contract.names import MANIFEST_FILE
from job_image.sandbox import Sandbox
from job_image.sources import ranges, refusals
from job_image.sources.manifest import JOURNAL_FILE, Manifest
from job_image.sources.pace import asked_wait
from job_image.sources.part import Part
from job_image.sources.ranges import Ask, Do, Known

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "key": JSON | st.just("k"),
        "path": JSON | st.sampled_from(["c/a.mp4", "../a", "/etc/passwd", ""]),
        "size": JSON | st.integers(-5, 5),
        "etag": JSON,
        "state": st.sampled_from(["complete", "skipped", "planned", 3]),
        "reason": JSON,
    },
)
MANIFESTS = st.binary(max_size=40) | st.builds(
    lambda files: json.dumps({"files": files}).encode(), st.lists(ENTRY | JSON, max_size=3) | JSON
)
JOURNALS = st.lists(
    st.binary(max_size=20) | st.builds(lambda one: json.dumps(one).encode(), ENTRY), max_size=3
).map(b"\n".join)


@settings(deadline=None)
@given(MANIFESTS, JOURNALS)
def test_any_bytes_are_a_manifest_or_none(manifest: bytes, journal: bytes) -> None:
    """A manifest and a journal of any bytes give records that can be relied on, or none."""
    with tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(Path(folder))
        sandbox.prepare()
        sandbox.state_file(MANIFEST_FILE).write_bytes(manifest)
        sandbox.state_file(JOURNAL_FILE).write_bytes(journal)
        found = Manifest(sandbox)
        found.load()
    for key, one in found.records.items():
        assert one.key == key and isinstance(one.path, str) and isinstance(one.etag, str)
        assert type(one.size) is int and one.size >= 0
    assert all(isinstance(why, str) for why in found.left.values())
    assert not set(found.left) & set(found.records)


NOTES = st.binary(max_size=40) | st.builds(
    lambda note: json.dumps(note).encode(),
    st.fixed_dictionaries(
        {},
        optional={
            "boot": JSON,
            "synced": JSON | st.integers(-9, 9_000_000),
            "known": JSON
            | st.fixed_dictionaries(
                {"etag": JSON, "modified": JSON, "total": JSON | st.integers(-9, 9_000_000)}
            ),
        },
    ),
)


@settings(deadline=None)
@given(NOTES, st.binary(max_size=50))
def test_any_bytes_are_a_note_or_none(note: bytes, content: bytes) -> None:
    """A note of any bytes never claims more than the file has."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "k.part").write_bytes(content)
        Path(folder, "k.json").write_bytes(note)
        part = Part(Path(folder), "k")
        part.load()
        assert 0 <= part.offset <= len(content)
        part.close()


NUMBERS = st.integers(-3, 10**20).map(str) | st.sampled_from(["", "*", "²", "1e3", " 7 "])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Range": st.text(max_size=12)
        | st.builds("bytes {}-{}/{}".format, NUMBERS, NUMBERS, NUMBERS)
        | st.builds("bytes */{}".format, NUMBERS),
        "Content-Length": NUMBERS,
        "Content-Encoding": st.sampled_from(["", "gzip", "identity", "Ünknown"]),
        "Content-Type": st.text(max_size=12) | st.just("text/html; charset=x"),
        "ETag": st.text(max_size=6) | st.sampled_from(['"a"', 'W/"a"']),
        "Last-Modified": st.text(max_size=12) | st.just("Tue, 15 Nov 1994 12:45:26 GMT"),
        "Date": st.text(max_size=12) | st.just("Tue, 15 Nov 2024 12:45:26 GMT"),
        "Retry-After": st.text(max_size=12) | NUMBERS,
    },
)


@given(st.integers(100, 599), HEADERS, st.integers(0, 200_000), st.none() | st.integers(0, 300_000))
def test_any_headers_are_read_so_that_no_byte_can_be_wrong(
    status: int, headers: dict[str, str], offset: int, total: int | None
) -> None:
    """Whatever a server claims: its body goes on only at the byte asked for, of the same object."""
    known = Known('"a"', "", total)
    asked = ranges.ask(offset, known)
    reply = ranges.read(status, headers, asked, offset, known)
    if reply.do is Do.REST:
        assert status in (200, 206)
        assert f"{asked.start}-" in headers["Content-Range"]
        assert total in (None, reply.known.total) and reply.stop is not None
    if reply.do is Do.DONE:
        assert status == 416 and offset and total in (None, offset)
    assert ranges.read(404, headers, Ask(0, {}), 0, Known()).do is Do.ANEW


@given(HEADERS, st.binary(max_size=60), st.integers(300, 599))
def test_any_refusal_is_an_error_in_words(
    headers: dict[str, str], body: bytes, status: int
) -> None:
    """Every answer of the API that is no success has a meaning, and a wait is never negative."""
    error = refusals.of_api(status, headers, body, "host", "the thing")
    assert "host" in error.summary
    wait = asked_wait(headers, 1.8e9)
    assert wait is None or wait >= 0
