"""The journey of one order, in one place.

    fetch -> upload -> verify -> record -> announce -> release

Each step leaves its mark in the checkpoint when its effect is durable; a marked step is left out.
What fails for a passing reason is tried again, that step alone, `MAX_RETRIES` times with
`RETRY_WAIT` between; what fails for good ends the run at once. Files go only with the volume, and
the volume is let go only when every step is done.

Steps do not know each other: this module hands the course folder's name from fetch to the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from contract import fault
from contract.errors import CourseRunnerError, Retryable, Temporary
from contract.webhook import Event
from job_image.checkpoint import STEPS, Checkpoint
from job_image.context import Context
from job_image.rclone_failure import shown
from job_image.sources import Fetched

_SAY = {
    "fetch": "Downloading course...",
    "upload": "Uploading to %(remote)s/%(folder)s...",
    "verify": "Checking what the remote holds...",
    "record": "Setting the row to completed...",
    "announce": "Announcing the course...",
    "release": "Letting go of the volume...",
}
_TAG = {
    "upload": "UPLOAD",
    "verify": "CHECK",
    "record": "DB",
    "announce": "WEBHOOK",
    "release": "CLEANUP",
}


def run(context: Context, checkpoint: Checkpoint) -> None:
    """Do what is left of the order; raise the error that ends the run."""
    checkpoint.runs += 1
    checkpoint.failed_at = 0
    checkpoint.save()
    _tell_what_is_done(context, checkpoint)
    _begin(context, checkpoint)
    for step in _wanted(context):
        if not checkpoint.has(step):
            _do(context, checkpoint, step)
            fault.point(f"{step}:done")
            checkpoint.mark(step)
            fault.point(f"{step}:marked")
    context.log.event("SUCCESS", "Task %s is done.", context.task.key)


def _wanted(context: Context) -> list[str]:
    """Return the steps that the settings ask for: no database, no row; no address, no webhook."""
    settings = context.settings
    left_out = {"record"} if settings.database.url is None else set()
    left_out |= set() if settings.webhook.url else {"announce"}
    return [step for step in STEPS if step not in left_out]


def _do(context: Context, checkpoint: Checkpoint, step: str) -> None:
    """Run one step and time it; an error that ends the run knows which step it was."""
    began = time.monotonic()
    try:
        _with_retries(context, checkpoint, step)
        context.progress.finish(step, time.monotonic() - began)
    except CourseRunnerError as exc:
        exc.step = step
        raise


def _with_retries(context: Context, checkpoint: Checkpoint, step: str) -> None:
    """Run one step until it succeeds, fails for good, or the attempts are used up."""
    attempts = context.settings.max_retries
    for attempt in range(1, attempts + 1):
        context.stop.check()
        _announce_step(context, checkpoint, step, attempt)
        fault.point(f"{step}:begin")
        try:
            _STEPS[step](context, checkpoint)
            return
        except Retryable as exc:
            context.log.event("ERROR", "%s", exc.summary)
            if attempt == attempts or step == "announce":
                raise  # the webhook has a schedule of its own; repeating it here would hammer
            _wait(context, exc)


def _wait(context: Context, error: Retryable) -> None:
    seconds = context.settings.retry_wait
    if error.retry_after is not None:
        if error.retry_after > max(300.0, seconds):
            raise error  # longer than a pod should sit idle: the dispatcher waits instead
        seconds = max(seconds, error.retry_after)
    context.log.event("KEEP", "Files are kept. Trying again in %g s.", seconds)
    context.stop.wait(seconds)


def _announce_step(context: Context, checkpoint: Checkpoint, step: str, attempt: int) -> None:
    log = context.log.bind(attempt=attempt, phase=step)
    tag = _TAG.get(step)
    if tag is None or attempt > 1:
        tag = f"ATTEMPT {attempt}/{context.settings.max_retries}"
    values = {"remote": shown(context.settings.upload.remote), "folder": checkpoint.folder}
    log.event(tag, _SAY[step], values)


def _tell_what_is_done(context: Context, checkpoint: Checkpoint) -> None:
    if checkpoint.done:
        wanted = _wanted(context)
        done = ", ".join(step for step in wanted if checkpoint.has(step))
        left = ", ".join(step for step in wanted if not checkpoint.has(step)) or "nothing"
        context.log.event("RESUME", "Already done: %s. Left to do: %s.", done, left)


def _begin(context: Context, checkpoint: Checkpoint) -> None:
    """Say early what would otherwise fail hours later: a missing row, a weak signing key."""
    if not checkpoint.has("record") and context.settings.database.url is not None:
        _late("job_image.database").begin(context)
    if not checkpoint.has("announce") and context.settings.webhook.url:
        _late("job_image.webhook").warn(context)


def _fetch(context: Context, checkpoint: Checkpoint) -> None:
    source = "command" if context.settings.platform.command else "platform"
    fetched: Fetched = _late(f"job_image.sources.{source}").fetch(context)
    checkpoint.folder = fetched.folder
    context.progress.moved("fetched", fetched.bytes_fetched)
    context.log.event(
        "CHECK",
        "%d files are complete: %d bytes fetched, %d bytes re-used, %d items skipped.",
        fetched.files,
        fetched.bytes_fetched,
        fetched.bytes_reused,
        len(fetched.skipped),
    )


def _upload(context: Context, checkpoint: Checkpoint) -> None:
    _late("job_image.upload").upload(context, checkpoint.folder)


def _verify(context: Context, checkpoint: Checkpoint) -> None:
    """Compare; what is missing on the remote sends the order back to its upload."""
    try:
        _late("job_image.verify").verify(context, checkpoint.folder)
    except Temporary:
        checkpoint.drop("upload")
        _upload(context, checkpoint)
        checkpoint.mark("upload")
        _late("job_image.verify").verify(context, checkpoint.folder)


def _record(context: Context, checkpoint: Checkpoint) -> None:
    _late("job_image.database").finish(context, "completed")


def _announce(context: Context, checkpoint: Checkpoint) -> None:
    if not checkpoint.finished_at:
        checkpoint.finished_at = int(time.time())
        checkpoint.save()
    event = Event(context.task.task_id, checkpoint.folder, checkpoint.finished_at)
    _late("job_image.webhook").deliver(context, event)


def _release(context: Context, checkpoint: Checkpoint) -> None:
    _late("job_image.release").release(context)


_STEPS: dict[str, Callable[[Context, Checkpoint], None]] = {
    "fetch": _fetch,
    "upload": _upload,
    "verify": _verify,
    "record": _record,
    "announce": _announce,
    "release": _release,
}


def _late(name: str) -> Any:
    """Import a step's module when its turn comes: SQL and friends would double the start-up."""
    return import_module(name)
