"""`python -m job_image [report | check]`: does one task, says how it ended, exits with its code.

Goes in: the environment (see `contract.handoff`) and the volume. Comes out: the exit code and the
last words in the termination log. `check` reads the settings and does nothing. This is the
outermost edge: the only place that catches everything, because a crash that says nothing is what
our users lost nights to.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from contract import env, handoff, names
from contract.errors import (
    BadMessage,
    BadSettings,
    CourseRunnerError,
    Misconfigured,
    Permanent,
    Stopped,
)
from contract.job_settings import JobSettings, read
from contract.log import Log, Redactor, set_up
from contract.outcome import CATEGORIES, ExitCode, Outcome
from contract.task import Task
from job_image import checkpoint, pipeline, report
from job_image.context import Context
from job_image.progress import Memory, Progress, Sink
from job_image.sandbox import Sandbox, locked, refusals
from job_image.stop import Stop

PATIENCE = 8.0
"""Seconds that a step may take to stop; below the 10 that are promised."""


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    values: Mapping[str, str] = os.environ
    redact = Redactor()
    try:
        values = env.load(os.environ)
        redact = Redactor(_secrets(values))
        set_up(values.get("LOG_FORMAT", "text"), redact)
        if words == ["check"]:
            read({handoff.TASK: "{}", **values})
        else:
            _run(values, redact, words == ["report"])
            _leave(values, Outcome(CATEGORIES[ExitCode.DONE], "Every step is done.", exit=0))
        return int(ExitCode.DONE)
    except CourseRunnerError as exc:
        return _end(values, redact, exc.outcome(), exc)
    except Exception as exc:  # noqa: BLE001 - the outermost edge: every end is reported
        outcome = Outcome(
            CATEGORIES[ExitCode.BUG],
            f"Unexpected {type(exc).__name__}: {exc}",
            "This is a bug; the traceback is in the log. It is tried again as a passing failure.",
            int(ExitCode.BUG),
        )
        return _end(values, redact, outcome, exc)


def _run(values: Mapping[str, str], redact: Redactor, closing: bool) -> None:
    settings = read(values)
    stop = _stop_on_signals(values, redact)
    task = Task.parse(settings.message.encode("utf-8", "surrogateescape"))
    log = Log.for_task(task.task_id).bind(attempt=settings.attempt)
    sandbox = Sandbox(settings.sandbox)
    sandbox.prepare()
    with locked(sandbox, f"pid {os.getpid()}, run {settings.attempt}"):
        _keep_log(sandbox, settings, redact)
        log.event("SANDBOX", "Using %s for task %s.", sandbox.root, task.key)
        memory = Memory(sandbox.state_file(names.PROGRESS_FILE))
        sinks = (memory, *_sinks(settings, task, log))
        progress = Progress(sinks, attempt=settings.attempt, percent=memory.percent())
        context = Context(task, sandbox, settings, log, progress, stop, redact)
        (_report if closing else _work)(context)


def _report(context: Context) -> None:
    """Pass a failure on, also from a volume that turned out to be another order's."""
    try:
        marks = checkpoint.load(context.sandbox, context.task, context.log)
    except Misconfigured:
        marks = checkpoint.apart(context.task)
    report.run(context, marks)


def _work(context: Context) -> None:
    """Do the task; a failure for good is recorded and announced by this very run."""
    marks = checkpoint.apart(context.task)
    try:
        marks = checkpoint.load(context.sandbox, context.task, context.log)
        pipeline.run(context, marks)
    except Permanent as exc:
        try:
            report.tell(context, marks, exc.outcome())
            exc.told = True
        except CourseRunnerError as second:
            context.log.event("ERROR", "The failure could not be passed on: %s", second.summary)
        raise


def _keep_log(sandbox: Sandbox, settings: JobSettings, redact: Redactor) -> None:
    """Write the log to the volume too, where it outlives the pod."""
    path = sandbox.state_file(names.LOG_FILE)
    with refusals(path):
        set_up(settings.log_format, redact, sys.stdout, path.open("a", encoding="utf-8"))


def _sinks(settings: JobSettings, task: Task, log: Log) -> tuple[Sink, ...]:
    if settings.progress_url is None:
        return ()
    module = import_module("job_image.progress_redis")  # late: redis costs 0.1 s of start-up
    return (module.RedisSink(settings.progress_url, names.task_hash(task.key), log),)


def _stop_on_signals(values: Mapping[str, str], redact: Redactor) -> Stop:
    """Return the flag that SIGTERM sets; whatever has not stopped in time is left where it is."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.request())
    threading.Thread(target=_last_resort, args=(stop, values, redact), daemon=True).start()
    return stop


def _last_resort(stop: Stop, values: Mapping[str, str], redact: Redactor) -> None:
    """End the program when a step cannot be stopped, such as a request that hangs.

    Every mark is written durably after its effect, so leaving in the middle costs no more than a
    kill would: the step is done again.
    """
    stop.wait_for_request()
    time.sleep(PATIENCE)
    error = Stopped("Told to stop; what was under way did not end in time and is done again.")
    os._exit(_end(values, redact, error.outcome(), error))


def _secrets(values: Mapping[str, str]) -> list[str]:
    return [values[name] for name in handoff.SECRET_SETTINGS if values.get(name)]


def _end(
    values: Mapping[str, str], redact: Redactor, outcome: Outcome, error: BaseException
) -> int:
    """Log the end, leave the last words, return the exit code."""
    if not logging.getLogger("course-runner").handlers:
        set_up("text", redact)
    log = Log.for_task(_task_id(values))
    traceback = error if outcome.exit == ExitCode.BUG else None
    for line in error.faults if isinstance(error, BadSettings) else (outcome.summary,):
        log.error("%s", line, exc_info=traceback, extra={"tag": "ERROR"})
    if outcome.advice:
        log.event("KEEP", "%s", outcome.advice)
    last = replace(outcome, summary=redact(outcome.summary), advice=redact(outcome.advice))
    _leave(values, last)
    return outcome.exit if outcome.exit is not None else int(ExitCode.BUG)


def _leave(values: Mapping[str, str], outcome: Outcome) -> None:
    """Write the last words. On one machine they are all that tells of an end that nobody saw."""
    target = values.get(handoff.TERMINATION_LOG)
    if target:
        with suppress(OSError):  # nobody is left to tell that the last words were not taken
            Path(target).write_text(outcome.dump(), encoding="utf-8")


def _task_id(values: Mapping[str, str]) -> int | str | None:
    try:
        return Task.parse(values.get(handoff.TASK, "").encode("utf-8", "replace")).task_id
    except BadMessage:
        return None


if __name__ == "__main__":
    sys.exit(main())
