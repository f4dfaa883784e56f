"""docs/settings.md says what the programs read: every name, every default, every secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract import env, fault, handoff
from contract import job_settings as job
from contract.errors import BadSettings
from dispatcher.executors.kubernetes import settings as kubernetes
from dispatcher.page_settings import page_settings
from dispatcher.service import settings_from
from dispatcher.settings import KUBERNETES, Settings

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\| `([A-Z_]+)` \| (?:`([^`]*)`)? *\| ([^|]*) \| ([^|]+) \|")
RUN = "## Given to each run"


class Watched(dict[str, str]):
    """Settings that remember the names they were asked for."""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        super().__init__(values or {})
        self.asked: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Remember the name."""
        self.asked.add(name)
        return super().get(name, default)


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Name, default and unit of each row of some tables."""
    return {match[1]: (match[2] or "", match[3]) for match in ROW.finditer(text)}


@pytest.fixture(scope="module")
def text() -> str:
    """The document."""
    return (ROOT / "docs/settings.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def documented(text: str) -> dict[str, tuple[str, str]]:
    """All rows."""
    return rows(text)


@pytest.fixture(scope="module")
def read() -> dict[str, set[str]]:
    """What each program asks for."""
    asked: dict[str, set[str]] = {}
    for program, reading in (("dispatcher", settings_from), ("job", job.read)):
        values = Watched()
        with pytest.raises(BadSettings):
            reading(values)  # type: ignore[operator]
        asked[program] = values.asked
    page = Watched()
    page_settings(env.Reader(page))
    asked["page"] = page.asked
    loaded = Watched()
    env.load(loaded)
    asked["both"] = loaded.asked
    return asked


def test_every_setting_that_is_read_is_documented_and_no_other(
    documented: dict[str, tuple[str, str]], read: dict[str, set[str]]
) -> None:
    assert set(documented) == set().union(*read.values())


def test_every_row_of_the_document_is_understood(text: str) -> None:
    """A row in another form would escape all these tests."""
    names = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(names) == len(rows(text))
    assert not [line for line in names if not ROW.fullmatch(line)]


def test_what_the_job_reads_is_passed_on_or_given_to_it(
    text: str, read: dict[str, set[str]]
) -> None:
    passed_on = {*handoff.PLAIN_SETTINGS, *handoff.SECRET_SETTINGS}
    given = set(rows(text.partition(RUN)[2])) | {handoff.NAMESPACE}
    assert read["job"] == passed_on | given
    assert not passed_on & given


def test_the_dispatcher_s_tables_hold_what_the_dispatcher_reads(
    text: str, read: dict[str, set[str]]
) -> None:
    dispatcher = rows(text.partition("## The job")[0])
    assert set(dispatcher) == read["dispatcher"] | read["page"] | read["both"]


def test_secret_settings_are_marked_as_such(documented: dict[str, tuple[str, str]]) -> None:
    marked = {name for name, (_, unit) in documented.items() if "**secret**" in unit}
    assert marked == {*handoff.SECRET_SETTINGS, "REDIS_URL", "OPERATOR_TOKEN"}


def test_the_points_for_tests_are_named(text: str) -> None:
    assert f"`{fault.POINT}`" in text
    assert f"`{fault.ONCE}`" in text


# --- defaults -------------------------------------------------------------------------------------
NEEDED = {"REDIS_URL": "redis://host", "JOB_IMAGE": "image", "DISPATCHER_ID": "d1"}
JOB_NEEDED = {"TASK": "{}", "PLATFORM_TOKEN": "t", "WEBHOOK_URL": "https://h/x"}
JOB_NEEDED |= {"API_SECRET_KEY": "k"}


def defaults(documented: dict[str, tuple[str, str]]) -> dict[str, str]:
    """All documented defaults, set as if by hand."""
    return {name: default for name, (default, _) in documented.items() if default}


def dispatcher_settings(values: dict[str, str]) -> tuple[Settings, object]:
    """Everything the dispatcher would go by."""
    found = settings_from({**NEEDED, **values}, executor=KUBERNETES)
    reader = env.Reader({**NEEDED, **values})
    return replace(found, environment={}), kubernetes.read(reader)


def test_setting_a_documented_default_changes_nothing_in_the_dispatcher(
    documented: dict[str, tuple[str, str]],
) -> None:
    assert dispatcher_settings(defaults(documented)) == dispatcher_settings({})


def test_setting_a_documented_default_changes_nothing_in_the_job(
    documented: dict[str, tuple[str, str]],
) -> None:
    assert job.read({**JOB_NEEDED, **defaults(documented)}) == job.read(JOB_NEEDED)


def without_default(documented: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Settings that the document gives no default."""
    return (name for name, (default, _) in documented.items() if not default)


def test_a_setting_without_a_documented_default_has_none(
    documented: dict[str, tuple[str, str]],
) -> None:
    """Unset, the setting is empty in what is read; a hidden default would show in these fields."""
    _, cluster = dispatcher_settings({})
    found = job.read(JOB_NEEDED)
    empty = {
        "STORAGE_CLASS": cluster.storage_class,  # type: ignore[attr-defined]
        "JOB_SECRET": cluster.secret,  # type: ignore[attr-defined]
        "JOB_CPU_LIMIT": cluster.resources.cpu_limit,  # type: ignore[attr-defined]
        "PLATFORM_URL": found.platform.url,
        "RCLONE_FLAGS": found.upload.flags,
        "DB_ERROR_COLUMN": found.database.error_column,
        "DB_SCHEMA": found.database.schema,
        "PROGRESS_REDIS_URL": found.progress_url,
    }
    assert set(empty) <= set(without_default(documented))
    assert not any(empty.values())
