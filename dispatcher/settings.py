"""Settings of the dispatcher: read once, all faults reported together, secrets hidden."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.env import Reader, Secret
from contract.names import DEFAULT_QUEUE, STAGING_DIR
from contract.task import quantity_bytes
from dispatcher.redis_address import BadAddress, parse

KUBERNETES = "kubernetes"
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the pure decisions go by. Times in seconds."""

    max_active: int = 5
    """Runs at once; the old worker's five processes."""
    keep_completed: float = 600
    """A finished run and its log stay readable this long (10 min)."""
    keep_failed: float = 7 * 86400
    """A failed task's volume is kept this long for a retry (7 days)."""
    remember: float = 7 * 86400
    """A finished task is not run again by the same message within this time (7 days)."""
    min_age: float = 60
    """No volume younger than this is ever removed: a floor under every other rule."""
    temporary: tuple[float, ...] = (300, 1800, 7200)
    """Waits before the delayed retries of a passing failure: 5 min, 30 min, 2 h."""
    webhook: tuple[float, ...] = (60, 300, 1800, 7200, 18000, 28800, 28800)
    """Waits before the redeliveries of a webhook: 24 h in all, dense at first."""
    crash: tuple[float, ...] = (60, 300, 1800)
    """Waits after a run that died without a word; then it is a poison order and stops."""
    stopped: int = 20
    """Free restarts after a run was told to stop; a cap, because something may kill it for ever."""
    pending: float = 900
    """A run that something final-looking keeps from beginning is ended after this long (15 min)."""
    volume_limit: int = 100 * 2**30
    """Bytes that a full volume is never grown beyond (100Gi)."""
    max_per_account: int = 0
    """Runs at once of one account (the order's email); 0 is no limit."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the dispatcher is told by its surroundings."""

    redis_url: Secret
    """None only for `course-runner local`, which brings its own server."""
    queue: str
    executor: str
    identity: str
    """Names this dispatcher's claimed list; the pod's own name where there is one."""
    staging: Path
    """Folder of the tasks on one machine."""
    log_format: str
    health_port: int
    """Port of /healthz, /readyz and /metrics; 0 switches them off."""
    health_host: str
    limits: Limits
    environment: Mapping[str, str]
    """The settings as read, from which the runs get theirs."""

    def __repr__(self) -> str:
        return f"Settings(queue={self.queue!r}, executor={self.executor!r})"


def read(reader: Reader, values: Mapping[str, str], *, executor: str = KUBERNETES) -> Settings:
    """Read the settings; faults stay in `reader` for its `finish`."""
    return Settings(
        redis_url=_redis(reader),
        queue=reader.text("QUEUE", DEFAULT_QUEUE),
        executor=reader.choice("EXECUTOR", (KUBERNETES, LOCAL), executor),
        identity=reader.text("DISPATCHER_ID") or _identity(),
        staging=Path(reader.text("STAGING_DIR", STAGING_DIR)),
        log_format=reader.choice("LOG_FORMAT", ("text", "json"), "text"),
        health_port=reader.whole("HEALTH_PORT", 8080, most=65535),
        health_host=reader.text("HEALTH_HOST", "0.0.0.0"),  # noqa: S104 - the kubelet asks
        limits=_limits(reader),
        environment=values,
    )


def _redis(reader: Reader) -> Secret:
    try:
        parse(reader.text("REDIS_URL", "redis://unset"))
    except BadAddress as exc:
        reader.fault("REDIS_URL", str(exc))
    return Secret(reader.required("REDIS_URL", "it is where the queue lives."))


def _limits(reader: Reader) -> Limits:
    usual = Limits()
    return Limits(
        max_active=reader.whole("MAX_ACTIVE", usual.max_active, least=1),
        keep_completed=reader.seconds("KEEP_COMPLETED", usual.keep_completed),
        keep_failed=reader.seconds("KEEP_FAILED", usual.keep_failed),
        remember=reader.seconds("REMEMBER", usual.remember),
        min_age=reader.seconds("REAP_MIN_AGE", usual.min_age),
        temporary=reader.schedule("RETRY_SCHEDULE", usual.temporary),
        webhook=reader.schedule("WEBHOOK_SCHEDULE", usual.webhook),
        crash=reader.schedule("CRASH_SCHEDULE", usual.crash),
        stopped=reader.whole("MAX_STOPPED", usual.stopped),
        pending=reader.seconds("PENDING_DEADLINE", usual.pending),
        volume_limit=quantity_bytes(reader.quantity("VOLUME_SIZE_LIMIT", "100Gi")),
        max_per_account=reader.whole("MAX_ACTIVE_PER_ACCOUNT", usual.max_per_account),
    )


def _identity() -> str:
    """A pod's host name is its own name; elsewhere a random part keeps two processes apart."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return socket.gethostname()
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
