"""The dispatcher as a service: parts put together, signals heeded, health served.

Goes in: settings. Runs until SIGTERM or SIGINT, then ends within seconds and leaves runs alone.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO

from contract import env, handoff, job_settings
from contract.errors import BadSettings, CourseRunnerError, Retryable
from contract.log import Log, Redactor, set_up
from dispatcher.complaints import Complaints, alike
from dispatcher.executors import Executor
from dispatcher.health import Check, Health, Page, stuck
from dispatcher.loop import Loop, warn_about
from dispatcher.settings import KUBERNETES, Settings, read
from dispatcher.store import Store, connect

START_WAIT = 2.0
"""Seconds between tries to reach the executor at start."""

PATIENCE = 8.0
"""Seconds from being told to stop to the end at any price; below the 10 that are promised."""


def settings_from(values: Mapping[str, str], *, executor: str = KUBERNETES) -> Settings:
    """Read all settings of a dispatcher, its executor's included. Raise `BadSettings`."""
    reader = env.Reader(values)
    settings = read(reader, values, executor=executor)
    if settings.executor == KUBERNETES:
        _kubernetes("settings").read(reader)
        passed_on = job_settings.faults_passed_on(values)
        reader.faults.extend(fault for fault in passed_on if fault not in reader.faults)
    reader.finish()
    return settings


def executor_from(settings: Settings) -> Executor:
    """Return the executor that the settings name."""
    executor: Executor
    if settings.executor == KUBERNETES:
        reader = env.Reader(settings.environment)
        chosen = _kubernetes("settings").read(reader)
        executor = _kubernetes("executor").KubernetesExecutor(chosen, settings.environment)
    else:
        module = import_module("dispatcher.executors.local")
        executor = module.LocalExecutor(settings.staging, settings.environment)
    return executor


def log_from(settings: Settings, *streams: TextIO) -> Log:
    """Set up the log as the settings say, their secrets cut out of it. See `contract.log`."""
    values = settings.environment
    secret_names = (*handoff.SECRET_SETTINGS, "REDIS_URL")
    redact = Redactor(values[n] for n in secret_names if values.get(n))
    set_up(settings.log_format, redact, *streams)
    return Log.for_task()


def serve(settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Dispatch until told to stop. `ready` is called when the first turn is about to begin."""
    log = log_from(settings)
    client = connect(settings.redis_url, lambda: _address(settings))
    store = Store(client, settings.queue, settings.identity)
    executor = executor_from(settings)
    loop = Loop(store, executor, settings.limits, log)
    warn_about(settings.limits, log)
    threading.Thread(target=_last_resort, args=(loop, log), daemon=True).start()
    with _health(settings, loop, executor, store), _stopped_by_signals(loop):
        if not _started(executor, loop, log):
            return
        log.event("CHECK", "Dispatching %s on %s.", settings.queue, settings.executor)
        ready()
        in_order = loop.run()
        _leave(store if in_order else None, executor, log)


def _address(settings: Settings) -> str:
    """Return REDIS_URL as a mounted Secret has it now; as at the start where there is none."""
    known = settings.environment.get("REDIS_URL", "")
    folder = settings.environment.get(env.SETTINGS_DIR)
    try:
        return env.load({env.SETTINGS_DIR: folder}).get("REDIS_URL", known) if folder else known
    except BadSettings:  # it is being replaced at this moment
        return known


def _started(executor: Executor, loop: Loop, log: Log) -> bool:
    """Wait until the executor answers; false when told to stop before."""
    complaints = Complaints(time.monotonic)
    while not loop.stopping:
        try:
            executor.start()
            return True
        except Retryable as exc:
            loop.pulse.beat(exc.summary)
            if complaints.due(alike(exc.summary)) is not None:
                log.event("ERROR", "%s Trying again.", exc.summary)
            loop.rest(START_WAIT)
    return False


def _leave(store: Store | None, executor: Executor, log: Log) -> None:
    """Let go. Without `store`, which may hang or whose orders are still acted on, say no word."""
    try:
        if store is not None:
            store.leave()
    except CourseRunnerError as exc:
        log.event("ERROR", "%s Others adopt what was claimed a minute later.", exc.summary)
    executor.close()
    log.event("CHECK", "The dispatcher has stopped. Runs go on.")


def _last_resort(loop: Loop, log: Log) -> None:
    """End the process when something hangs: Redis, the API server, a file system.

    That is a clean end: runs go on, claimed orders are adopted, and the embedded server is told
    to end by the kernel, as after any death of ours.
    """
    loop.rest()
    time.sleep(PATIENCE)
    message = "What was under way did not end within %.0f s and is left; runs go on."
    log.event("CHECK", message, PATIENCE)
    os._exit(0)


@contextmanager
def _health(settings: Settings, loop: Loop, executor: Executor, store: Store) -> Iterator[None]:
    if not settings.health_port:
        yield
        return
    started = time.monotonic()
    checks = {
        "/healthz": lambda: stuck(loop.pulse.last, started),
        "/readyz": lambda: loop.pulse.trouble or executor.trouble(),
    }
    pages = {"/metrics": _Metrics(settings, loop, store, checks["/readyz"])}
    health = Health(
        settings.health_host,
        settings.health_port,
        checks,
        note=lambda: loop.pulse.note,
        pages=pages,
    )
    health.start()
    try:
        yield
    finally:
        health.close()


class _Metrics:
    """The page `/metrics`; made at its first reading, so that nobody pays for what nobody reads."""

    def __init__(self, settings: Settings, loop: Loop, store: Store, ails: Check) -> None:
        self._parts = (settings, loop, store, ails)
        self._lock = threading.Lock()
        self._page: Page | None = None

    def __call__(self) -> tuple[str, bytes]:
        with self._lock:
            if self._page is None:  # its library takes 3 MiB
                self._page = import_module("dispatcher.metrics").page(*self._parts)
        return self._page()


@contextmanager
def _stopped_by_signals(loop: Loop) -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: loop.stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kubernetes(module: str) -> Any:
    """Import late: one machine never needs what speaks to a cluster."""
    return import_module(f"dispatcher.executors.kubernetes.{module}")
