"""Settings of the job's program: read once, all faults reported together, secrets hidden.

They are part of the contract because two read them: the program itself, and a dispatcher that
passes them on and can so tell their faults before the first order.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract import handoff
from contract.env import Reader, Secret
from contract.errors import BadSettings
from contract.webhook import signing_key

SHORT_SCHEDULE = (0.0, 2.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds before each try of the webhook within one run: about 4 minutes, what a deployment of
the receiver takes. Longer outages are the dispatcher's delayed retries."""


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""A header's name (RFC 9110, token)."""


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """Access to the course platform."""

    url: str
    """Base address of the API; "" means the course URL's own scheme and host."""
    token: Secret | None
    """Access token of the account, when there is one account."""
    tokens_file: Path | None
    """YAML: account email -> token, and `default`."""
    concurrency: int
    """Files fetched at once, one connection each (3 to 5 stay under rate limits)."""
    command: tuple[str, ...]
    """An own downloader instead, with {url} and {dir}; empty means the built-in one."""
    timeout: float
    """Seconds that the own downloader may take in one attempt."""
    skips_failed: bool = False
    """Whether a course completes without the items that could not be had."""
    numbers_run_on: bool = False
    """Lectures are numbered through the whole course instead of within each chapter."""
    is_named_by_id: bool = False
    """The course folder is called by the course's id instead of its name."""
    widest: int = 16
    """What `concurrency` may grow to while each connection is slow and nobody asked for less."""


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """Where the course goes."""

    remote: str
    """rclone remote and path; the course folder is made in it."""
    config: Path | None
    """rclone's configuration file; copied before use, because rclone rewrites it."""
    flags: tuple[str, ...]
    """More flags for rclone, put last so that they win."""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The row of the order. `url` None: there is no database and no such step."""

    url: Secret | None
    table: str
    schema: str
    id_column: str
    status_column: str
    error_column: str
    time_column: str
    running: str
    completed: str
    failed: str
    cancelled: str
    """The words for the states; an empty word means that state is not written."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """The announcement. `url` "": there is no such step."""

    url: str
    body_secret: Secret | None
    """Sent in the body as `secret_key`; None leaves the field out."""
    key: bytes
    """HMAC key of both signatures."""
    key_is_body_secret: bool
    """Worth a warning: whoever sees one body can then sign."""
    header: str
    """Name of the HMAC header."""
    failure_events: bool
    timeout: float
    """Seconds for one try."""
    schedule: tuple[float, ...]
    """Seconds before each try."""

    def __repr__(self) -> str:
        return f"WebhookSettings(header={self.header!r})"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Everything the job's program is told by its surroundings."""

    message: str
    sandbox: Path
    attempt: int
    max_retries: int
    """Attempts within one run."""
    retry_wait: float
    """Seconds between two attempts within one run."""
    log_format: str
    termination_log: Path | None
    release: str
    """How the volume is let go: `kubernetes` or `file`."""
    claim: str
    namespace: str
    report: str
    """JSON of the outcome to report, for `python -m job_image report`."""
    progress_url: Secret | None
    platform: PlatformSettings
    upload: UploadSettings
    database: DatabaseSettings
    webhook: WebhookSettings


def read(values: Mapping[str, str]) -> JobSettings:
    """Read the settings from `values` (see `contract.env.load`). Raise `BadSettings`."""
    reader = Reader(values)
    settings = JobSettings(
        message=reader.required(handoff.TASK, "it holds the order's JSON."),
        sandbox=Path(reader.text(handoff.SANDBOX, handoff.SANDBOX_PATH)),
        attempt=reader.whole(handoff.ATTEMPT, 1, least=1),
        max_retries=reader.whole("MAX_RETRIES", 3, least=1),
        retry_wait=reader.seconds("RETRY_WAIT", 20),
        log_format=reader.choice("LOG_FORMAT", ("text", "json"), "text"),
        termination_log=_path(reader.text(handoff.TERMINATION_LOG)),
        release=reader.choice(
            handoff.RELEASE,
            (handoff.RELEASE_FILE, handoff.RELEASE_KUBERNETES),
            handoff.RELEASE_FILE,
        ),
        claim=reader.text(handoff.CLAIM),
        namespace=reader.text(handoff.NAMESPACE),
        report=reader.text(handoff.REPORT),
        progress_url=reader.secret("PROGRESS_REDIS_URL"),
        platform=_platform(reader),
        upload=_upload(reader),
        database=_database(reader),
        webhook=_webhook(reader),
    )
    reader.finish()
    return settings


def faults_passed_on(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the faults in what a dispatcher passes on to its runs.

    Their secrets come to a run by another way, so those are taken for set.
    """
    plain = {name: values[name] for name in handoff.PLAIN_SETTINGS if name in values}
    unseen = {handoff.TASK: "{}", "PLATFORM_TOKEN": "unseen", "API_SECRET_KEY": "unseen"}
    try:
        read({**plain, **unseen})
    except BadSettings as exc:
        return exc.faults
    return ()


def _platform(reader: Reader) -> PlatformSettings:
    at_once = reader.whole("DOWNLOAD_CONCURRENCY", 0)
    settings = PlatformSettings(
        url=reader.url("PLATFORM_URL", ("https", "http")).rstrip("/"),
        token=reader.secret("PLATFORM_TOKEN"),
        tokens_file=_path(reader.text("PLATFORM_TOKENS_FILE")),
        concurrency=at_once or 4,
        widest=at_once or 16,
        command=_words(reader, "DOWNLOAD_COMMAND"),
        timeout=reader.seconds("DOWNLOAD_TIMEOUT", 6 * 3600),
        skips_failed=reader.choice("ON_ITEM_FAILURE", ("fail", "skip"), "fail") == "skip",
        numbers_run_on=reader.flag("CONTINUE_LECTURE_NUMBERS"),
        is_named_by_id=reader.flag("ID_AS_COURSE_NAME"),
    )
    if not settings.command and settings.token is None and settings.tokens_file is None:
        reader.faults.append(
            "PLATFORM_TOKEN or PLATFORM_TOKENS_FILE must be set (or DOWNLOAD_COMMAND)."
        )
    if settings.command and not any("{url}" in word for word in settings.command):
        reader.fault("DOWNLOAD_COMMAND", "a command with {url} and {dir} in it")
    return settings


def _upload(reader: Reader) -> UploadSettings:
    remote = reader.text("RCLONE_REMOTE", "gdrive:Courses")
    if ":" not in remote and not remote.startswith("/"):
        reader.fault("RCLONE_REMOTE", "an rclone remote such as gdrive:Courses, or a path")
    return UploadSettings(
        remote=remote.rstrip("/"),
        config=_path(reader.text("RCLONE_CONFIG")),
        flags=_words(reader, "RCLONE_FLAGS"),
    )


def _database(reader: Reader) -> DatabaseSettings:
    return DatabaseSettings(
        url=reader.secret("DATABASE_URL"),
        table=_identifier(reader, "DB_TABLE", "tasks"),
        schema=_identifier(reader, "DB_SCHEMA", ""),
        id_column=_identifier(reader, "DB_ID_COLUMN", "id"),
        status_column=_identifier(reader, "DB_STATUS_COLUMN", "status"),
        error_column=_identifier(reader, "DB_ERROR_COLUMN", ""),
        time_column=_identifier(reader, "DB_TIME_COLUMN", ""),
        running=_word(reader, "DB_STATUS_RUNNING", "running"),
        completed=_word(reader, "DB_STATUS_COMPLETED", "completed"),
        failed=_word(reader, "DB_STATUS_FAILED", "failed"),
        cancelled=_word(reader, "DB_STATUS_CANCELLED", "cancelled"),
    )


def _webhook(reader: Reader) -> WebhookSettings:
    url = reader.url("WEBHOOK_URL", ("https", "http"))
    body = reader.secret("API_SECRET_KEY")
    own = reader.secret("WEBHOOK_SIGNING_KEY")
    in_body = reader.flag("WEBHOOK_BODY_SECRET", True)
    if url and body is None and (own is None or in_body):
        reader.faults.append(
            "API_SECRET_KEY is not set; the webhook sends it as secret_key, and signs with it "
            "unless WEBHOOK_SIGNING_KEY is set (set WEBHOOK_BODY_SECRET to false to leave it out)."
        )
    return WebhookSettings(
        url=url,
        body_secret=body if in_body else None,
        key=_key(reader, own, body),
        key_is_body_secret=in_body and body is not None and own in (None, body),
        header=_header(reader),
        failure_events=reader.flag("WEBHOOK_FAILURE_EVENTS"),
        timeout=reader.seconds("WEBHOOK_TIMEOUT", 20),
        schedule=reader.schedule("WEBHOOK_TRIES", SHORT_SCHEDULE),
    )


def _key(reader: Reader, own: Secret | None, body: Secret | None) -> bytes:
    """Return the signing key; without one of its own it is API_SECRET_KEY as it stands."""
    try:
        return signing_key(own.reveal()) if own else body.reveal().encode() if body else b""
    except ValueError:
        name = "WEBHOOK_SIGNING_KEY" if own else "API_SECRET_KEY"
        reader.fault(name, "base64 after whsec_, or a plain text in UTF-8")
        return b""


def _header(reader: Reader) -> str:
    value = reader.text("WEBHOOK_SIGNATURE_HEADER", "X-Signature")
    if not _HEADER.fullmatch(value):
        reader.fault("WEBHOOK_SIGNATURE_HEADER", "the name of a header, such as X-Signature")
    return value


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _words(reader: Reader, name: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(reader.text(name)))
    except ValueError as exc:
        reader.fault(name, f"a command line that a shell could split ({exc})")
        return ()


def _identifier(reader: Reader, name: str, default: str) -> str:
    value = reader.text(name, default)
    if value and not (value.isascii() and value.isidentifier() and len(value) <= 63):
        reader.fault(name, "a plain SQL name of letters, digits and _, at most 63 characters")
        return default
    return value


def _word(reader: Reader, name: str, default: str) -> str:
    """A state's word; `-` means that this state is not written."""
    value = reader.text(name, default)
    return "" if value == "-" else value
