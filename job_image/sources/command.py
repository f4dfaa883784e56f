"""An own downloader as the source: `DOWNLOAD_COMMAND`, such as `python main.py -c {url} -o {dir}`.

In: the words of the command. Out: whatever it leaves in its folder, which it must be able to
complete when it is started again. It runs without a shell, in a process group of its own, and sees
none of our secrets but the platform's token. Exit codes of our own (64 to 75, see contract.errors)
keep their meaning, so a wrapper can say "token expired" with `exit 65`.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from contract import handoff
from contract.errors import (
    AuthExpired,
    BlockedByPlatform,
    CourseRunnerError,
    Misconfigured,
    NotEntitled,
    Temporary,
    VolumeFull,
)
from contract.outcome import ExitCode
from job_image.child import Child
from job_image.context import Context
from job_image.sandbox import refusals
from job_image.sources import Fetched

SAY_INTERVAL = 5.0
"""Seconds between two of its lines that become the progress message."""

_KEPT_LINES = 5
"""Last lines that an error repeats."""

_LINE_LIMIT = 2000
_NAME_LIMIT = 100
_MEANINGS: dict[int, type[CourseRunnerError]] = {
    ExitCode.BAD_INPUT: Misconfigured,
    ExitCode.AUTH_EXPIRED: AuthExpired,
    ExitCode.NOT_ENTITLED: NotEntitled,
    ExitCode.BLOCKED: BlockedByPlatform,
    ExitCode.VOLUME_FULL: VolumeFull,
}
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)


def fetch(context: Context) -> Fetched:
    """Run the command; return what lies in its folder.

    Raise what its exit code means, `Temporary` for any other failure, for a timeout and for an
    empty folder, `Stopped` when told to stop.
    """
    folder = folder_name(context.task.course_url)
    target = context.sandbox.root / folder
    with refusals(target):
        target.mkdir(parents=True, exist_ok=True)
    _, before = _contents(target)
    context.progress.begin("fetch")
    _run(context, _words(context, target))
    files, after = _contents(target)
    if not files:
        raise Temporary(
            f"The downloader produced no files in {target}.",
            advice="See its lines in the log; DOWNLOAD_COMMAND must write below {dir}.",
        )
    return Fetched(folder, files, max(0, after - before), min(before, after))


def folder_name(url: str) -> str:
    """Return the course folder's name: the part behind `/course/`, else the last part of the path.

    Letters outside ASCII stay; what a file system or rclone could stumble over becomes `-`.
    """
    parts = [part for part in unquote(urlsplit(url).path).split("/") if part]
    chosen = parts[-1] if parts else ""
    if "course" in parts[:-1]:
        chosen = parts[parts.index("course") + 1]
    return re.sub(r"[^\w.-]+", "-", chosen)[:_NAME_LIMIT].strip(".-") or "course"


def _words(context: Context, target: Path) -> list[str]:
    places = {"{url}": context.task.course_url, "{dir}": str(target)}
    pattern = re.compile("|".join(map(re.escape, places)))
    command = context.settings.platform.command
    words = [pattern.sub(lambda match: places[match[0]], word) for word in command]
    if shutil.which(words[0]) is None:
        raise Misconfigured(
            f"DOWNLOAD_COMMAND: there is no program {words[0]}.",
            advice="Add it to the image, or give its full path.",
        )
    return words


def _run(context: Context, words: list[str]) -> None:
    log = context.log.bind(phase="fetch")
    deadline = time.monotonic() + context.settings.platform.timeout
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    say_at = 0.0
    with _started(context, words) as child:
        for line in child.lines():
            if time.monotonic() > deadline:
                raise Temporary(
                    "The downloader took longer than DOWNLOAD_TIMEOUT "
                    f"({context.settings.platform.timeout:g} s) and was ended.",
                )
            if line is None:
                continue
            last.append(context.redact(line)[:_LINE_LIMIT])
            log.event("DOWNLOAD", "%s", last[-1])
            if time.monotonic() >= say_at:
                say_at = time.monotonic() + SAY_INTERVAL
                context.progress.say(last[-1][:200])
        code = child.code()
    if code:
        raise _failure(code, " | ".join(last))


def _started(context: Context, words: list[str]) -> Child:
    try:
        return Child(words, _environment(context), context.stop)
    except OSError as exc:
        raise Misconfigured(f"DOWNLOAD_COMMAND cannot be started: {exc.strerror}.") from exc


def _environment(context: Context) -> Mapping[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in handoff.SECRET_SETTINGS}
    token = context.settings.platform.token
    return {**kept, "PLATFORM_TOKEN": token.reveal()} if token else kept


def _failure(code: int, words: str) -> CourseRunnerError:
    how = f"signal {-code} ended it" if code < 0 else f"exit code {code}"
    summary = f"The downloader failed ({how}): {words[-1000:] or 'it said nothing'}"
    if _FULL.search(words):
        return VolumeFull(
            summary, advice='Order it again with a larger volumeSize and "force": true.'
        )
    return _MEANINGS.get(code, Temporary)(summary)


def _contents(folder: Path) -> tuple[int, int]:
    """Return how many finished files lie below `folder`, and their bytes."""
    sizes = [
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".part")
    ]
    return len(sizes), sum(sizes)
