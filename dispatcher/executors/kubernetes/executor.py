"""The verbs of an executor, on a cluster.

Goes in: tasks, assignments, marks. Comes out: one claim and one Job per task, and what is known of
them. Names are deterministic and every removal carries a uid, so that any number of dispatchers
may do the same at once: the API server lets one of them win and tells the others. Whatever a
removal or a second run depends on is asked live; the cache serves looks.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from contract import names
from contract.errors import BadMessage
from contract.handoff import Assignment
from contract.log import Log
from contract.task import Task
from dispatcher.executors import (
    Busy,
    Ending,
    Holding,
    Obstacle,
    Outdated,
    Phase,
    Refused,
    Run,
    Unavailable,
    Volume,
)
from dispatcher.executors.kubernetes import endings, manifests, obstacles, readings
from dispatcher.executors.kubernetes.answers import Conflict, NotFound
from dispatcher.executors.kubernetes.cache import Cache
from dispatcher.executors.kubernetes.client import Client
from dispatcher.executors.kubernetes.feed import Feed
from dispatcher.executors.kubernetes.logs import PodLog
from dispatcher.executors.kubernetes.objects import BACKGROUND, FOREGROUND, Objects
from dispatcher.executors.kubernetes.rehearsal import rehearse
from dispatcher.executors.kubernetes.settings import LOOK_ONLY, KubernetesSettings
from dispatcher.executors.kubernetes.watch import Pace, Watch

SUCCESSOR_PATIENCE = 2.0
"""Seconds that `start_run` waits for the run before to be gone; then the caller asks again."""

CLOSING = 1.0
"""Seconds that a watch may take to end: one that hangs in a call ends with the process."""

LOOK = 0.1
"""Seconds between two such looks."""


class KubernetesExecutor:
    """Runs each task as a Job on a claim of its own."""

    def __init__(
        self,
        settings: KubernetesSettings,
        environment: Mapping[str, str],
        *,
        log: Log | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._log = log or Log.for_task()
        self._client = Client(settings.kubeconfig, self._log)
        self._objects = Objects(self._client, settings.namespace)
        self._cache = Cache()
        self._runs: Feed[Run] = Feed(self._cache, self._cache.runs, readings.run)
        self._volumes: Feed[Volume] = Feed(self._cache, self._cache.volumes, readings.volume)
        self._pace = pace or Pace()
        self._watches = self._make_watches(self._pace)
        self._fresh: set[str] = set()
        self._fresh_lock = threading.Lock()

    def _make_watches(self, pace: Pace) -> tuple[Watch[Run], Watch[Volume]]:
        selector, objects = manifests.selector(self._settings), self._objects
        return (
            Watch(self._client, objects.jobs, selector, self._runs, self._log, pace),
            Watch(self._client, objects.claims, selector, self._volumes, self._log, pace),
        )

    # --- life -------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to watch; return when both lists are in and the manifests were tried out.

        Raise `Unavailable` when the server does not answer (calling again goes on waiting), and
        `Misconfigured` when it refuses what the settings make of any task.
        """
        self._client.open()
        deadline = time.monotonic() + self._pace.start
        for watch in self._watches:
            watch.start()
        with _no_collector():
            for watch in self._watches:
                if not watch.synced(max(0.0, deadline - time.monotonic())):
                    raise Unavailable(watch.trouble())
        if self._settings.image != LOOK_ONLY:
            rehearse(self._objects, self._settings, self._environment, self._log)

    def close(self) -> None:
        """Stop watching and let go of everything; runs go on."""
        for watch in self._watches:
            watch.close(0.0)
        self._client.close()  # ends the waits of calls, in the watches' threads and in others
        for watch in self._watches:
            watch.close(CLOSING)
        self._cache.wake()

    def trouble(self) -> str:
        """Return why the view may be stale, or ""."""
        return " ".join(filter(None, (watch.trouble() for watch in self._watches)))

    def holdings(self) -> Mapping[str, Holding]:
        """Return all holdings by name, as last seen; own writes are always in it."""
        return self._cache.holdings()

    def wait(self, seconds: float) -> bool:
        """Wait until something changed since the last call, at most `seconds`; true if so."""
        return self._cache.wait(seconds)

    # --- volumes ----------------------------------------------------------------------------------
    def ensure_volume(self, task: Task) -> bool:
        """Make the task's claim; see the Protocol."""
        name = names.object_name(task.key)
        body = manifests.claim(task, self._settings)
        try:
            self._volumes.seen(self._client.create(self._objects.claims, body))
        except Conflict:
            self._check_ours(name, task, self._claim(name))
            return False
        with self._fresh_lock:
            self._fresh.add(name)
        return True

    def mark(self, name: str, marks: Mapping[str, str | None], version: str | None = None) -> None:
        """Merge marks into the claim's annotations; see the Protocol."""
        known = self._volume(name)
        try:
            claim = self._objects.annotate(name, marks, version)
        except Conflict as exc:
            if version is None:
                raise
            # Perhaps only its status has changed, which costs no more than another look.
            raise Outdated(self._changed(name), retry_after=LOOK) from exc
        if claim is not None:
            self._volumes.seen(claim)
        elif known is not None:
            self._volumes.forget(name, known.id)

    def remove_volume(self, name: str, volume_id: str, version: str | None = None) -> None:
        """Remove that very claim, as it was seen; see the Protocol.

        A claim that is deleted under a running pod could never be used again by the next one, and
        a pod that has ended still holds it: so first the Job goes, then the pods, then the claim.
        """
        if self._objects.job(name) is not None:
            raise Busy(f"The Job {self._where(name)} still has its volume.")
        if self._objects.pods_of(name):
            raise Busy(f"Pods of the Job {self._where(name)} are still going away.")
        path = f"{self._objects.claims}/{name}"
        try:
            answer = self._objects.remove(path, volume_id, BACKGROUND, version)
        except Conflict as exc:
            if version is None:
                raise
            # Perhaps only its status has: then the next look, with the watch's news, removes it.
            raise Busy(self._changed(name)) from exc
        self._volumes.removed(name, volume_id, answer)

    def _changed(self, name: str) -> str:
        return f"The claim {self._where(name)} has changed since it was looked at."

    def _volume(self, name: str) -> Volume | None:
        known = self._cache.holdings().get(name)
        return known.volume if known else None

    def _claim(self, name: str) -> Volume | None:
        """Return the claim as it is now. Raise `Refused` when it is another instance's."""
        claim = self._objects.claim(name)
        if claim is None:
            return None
        if readings.label(claim, names.LABEL_INSTANCE) != self._settings.instance:
            raise self._taken(name)
        self._volumes.seen(claim)
        return readings.volume(claim)

    def _check_ours(self, name: str, task: Task, volume: Volume | None) -> None:
        """Raise unless `volume`, which has the name, is this very task's, and stays."""
        if volume is None or volume.deleting:
            raise Busy(f"The claim {self._where(name)} is going away, or gone.")
        message = volume.marks.get(names.MESSAGE, "")
        if message != task.dump() and _task_key(message) != task.key:
            raise self._taken(name)

    def _taken(self, name: str) -> Refused:
        return Refused(
            f"The name {self._where(name)} is taken by a claim of another task, or of another "
            f"instance than {self._settings.instance}.",
            advice="Remove or rename that claim, or use another INSTANCE and NAMESPACE.",
        )

    def _where(self, name: str) -> str:
        return f"{self._settings.namespace}/{name}"

    # --- runs -------------------------------------------------------------------------------------
    def start_run(self, assignment: Assignment) -> bool:
        """Start a run on the task's claim; see the Protocol."""
        name = names.object_name(assignment.task.key)
        # The cache will do: what it may miss, a claim removed this moment, the deadline ends.
        self._check_ours(name, assignment.task, self._volume(name) or self._claim(name))
        if not self._is_fresh(name):
            self._check_no_writer(name)
        if self._create_run(assignment):
            return True
        deadline = time.monotonic() + SUCCESSOR_PATIENCE
        while not self._is_there(name, assignment):
            self._check_no_writer(name)
            if self._create_run(assignment):
                return True
            if time.monotonic() > deadline:
                raise Busy(f"The old Job {self._where(name)} is still going away.")
            time.sleep(LOOK)
        return False

    def _is_fresh(self, name: str) -> bool:
        """Whether this claim was made here and had no run yet; it says so once."""
        with self._fresh_lock:
            if name in self._fresh:
                self._fresh.remove(name)
                return True
            return False

    def _create_run(self, assignment: Assignment) -> bool:
        body = manifests.job(assignment, self._settings, self._environment)
        try:
            self._runs.seen(self._client.create(self._objects.jobs, body))
        except Conflict:
            return False
        return True

    def _is_there(self, name: str, assignment: Assignment) -> bool:
        """Whether the Job that has the name is the one asked for, or a later one.

        Else ask for its removal if it has ended. Raise `Busy` while it is at work.
        """
        job = self._objects.job(name)
        if job is None or readings.is_deleting(job):
            return False
        self._runs.seen(job)
        wanted = (assignment.attempt, assignment.report is not None)
        if (readings.attempt(job), readings.is_closing(job)) >= wanted:
            return True
        if readings.end_of(job) is None:
            raise Busy(f"An earlier run of {self._where(name)} is still at work.")
        self.remove_run(name, readings.id_of(job))
        return False

    def _check_no_writer(self, name: str) -> None:
        """Raise `Busy` while a pod of a Job that somebody removed has not stopped yet."""
        alive = [pod for pod in self._objects.pods_of(name) if not endings.is_over(pod)]
        if alive and self._objects.job(name) is None:
            node = (alive[0].get("spec") or {}).get("nodeName") or "none yet"
            raise Busy(
                f"Pod {readings.name_of(alive[0])} (node: {node}) is still stopping.",
                advice="If its node is gone for good, delete the Node or taint it out-of-service.",
            )

    def remove_run(self, name: str, run_id: str) -> None:
        """Remove that very Job and, through the garbage collector, its pods.

        In the foreground while it is at work: then the Job stays, marked, until its pods have
        stopped, and nothing can take its name before. An ended one may make room at once.
        """
        known = self._cache.holdings().get(name)
        run = known.run if known else None
        ended = run is not None and run.id == run_id and run.phase is not Phase.ACTIVE
        policy = BACKGROUND if ended else FOREGROUND
        answer = self._objects.remove(f"{self._objects.jobs}/{name}", run_id, policy)
        self._runs.removed(name, run_id, answer)

    def ending(self, name: str, run: Run) -> Ending:
        """Return how an ended run ended, as far as anything still knows."""
        job = self._objects.job(name)
        if job is None or readings.id_of(job) != run.id:
            return Ending(reason=endings.DELETED)
        return endings.ending(job, self._objects.pods_of_run(run.id))

    def obstacle(self, name: str) -> Obstacle | None:
        """Return what keeps the run from its work, from its newest pod, the claim and events."""
        job = self._objects.job(name)
        if job is None or readings.end_of(job) is not None:
            return None
        pod = endings.newest(self._objects.pods_of_run(readings.id_of(job)))
        if pod is None:
            return obstacles.without_pod(job, self._objects.warnings_of("Job", name))
        if not obstacles.is_waiting(pod):
            return None
        claim = self._objects.claim(name) or {}
        words = self._objects.warnings_of("Pod", readings.name_of(pod))
        if obstacles.is_unbound(claim):
            words += self._objects.warnings_of("PersistentVolumeClaim", name)
        return obstacles.of_pod(pod, claim, words)

    def grow(self, name: str, size: int) -> bool:
        """Ask for a larger claim; false where its storage class does not allow it."""
        try:
            self._volumes.seen(self._objects.resize(name, size))
        except (Refused, NotFound) as exc:
            self._log.event("CHECK", "Volume %s stays as large as it is: %s", name, exc.summary)
            return False
        self._log.event("CHECK", "Volume %s is made larger: %d bytes.", name, size)
        return True

    def logs(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of the task's newest run, without line breaks."""
        objects = self._objects
        log = PodLog(self._client, objects.pods, lambda: endings.newest(objects.pods_of(name)))
        return log.follow() if follow else log.lines()


@contextmanager
def _no_collector() -> Iterator[None]:
    """Leave cycles alone meanwhile: a list makes millions of objects and none of these.

    Looking for them was half of the processor time of a list of ten thousand.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _task_key(message: str) -> str | None:
    """Return the id of the task that a claim's message is about; None when it is no message."""
    try:
        return Task.parse(message.encode()).key
    except BadMessage:
        return None
