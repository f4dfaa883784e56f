"""The closing run: speaks for a run that died without a word, or was cancelled.

Goes in: the outcome that the dispatcher decided (`REPORT`). It sets the row to failed or cancelled
and, if switched on, sends the failure event. It touches no file of the course, so the order can
still be retried on the same volume.
"""

from __future__ import annotations

import time
from importlib import import_module

from contract.errors import BadSettings, Temporary, VolumeFull
from contract.outcome import Outcome
from contract.webhook import Event
from job_image.checkpoint import Checkpoint
from job_image.context import Context

CANCELLED = "cancelled"


def run(context: Context, checkpoint: Checkpoint) -> None:
    """Record and announce the outcome. Raise what the two steps raise."""
    outcome = Outcome.parse(context.settings.report)
    if outcome is None:
        raise BadSettings(["REPORT must be the JSON of an outcome."])
    context.log.event("ERROR", "Task %s: %s", context.task.key, outcome.summary)
    if outcome.advice:
        context.log.event("KEEP", "%s", outcome.advice)
    tell(context, checkpoint, outcome)


def tell(context: Context, checkpoint: Checkpoint, outcome: Outcome) -> None:
    """Set the row and send the failure event, as far as the settings ask for either."""
    state = CANCELLED if outcome.category == CANCELLED else "failed"
    if context.settings.database.url is not None and not checkpoint.has("record"):
        import_module("job_image.database").finish(context, state, outcome.summary)
    hook = context.settings.webhook
    if hook.url and hook.failure_events and not checkpoint.has("announce"):
        event = Event(
            context.task.task_id,
            checkpoint.folder,
            _moment(context, checkpoint),
            status=state,
            error=outcome.summary[:500],
        )
        import_module("job_image.webhook").deliver(context, event)


def _moment(context: Context, checkpoint: Checkpoint) -> int:
    """Return the time of the failure: noted once, so that it is the same in every try.

    A volume that is full, say, cannot note it; that must not keep the failure from being told.
    """
    if not checkpoint.failed_at:
        checkpoint.failed_at = int(time.time())
        try:
            checkpoint.save()
        except (Temporary, VolumeFull) as exc:
            context.log.event("CHECK", "The time of the failure is not noted: %s", exc.summary)
    return checkpoint.failed_at
