"""The verbs of an executor, on a cluster.

Goes in: tasks, assignments, marks. Comes out: one claim and one Job per task, and what is known of
them. Names are deterministic and every removal carries a uid, so that any number of dispatchers
may do the same at once: the API server lets one of them win and tells the others. What is decided
here by a look is looked up live; the cache serves only `holdings`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

from contract import names
from contract.errors import BadMessage, Misconfigured
from contract.handoff import Assignment
from contract.log import Log
from contract.task import Task
from dispatcher.executors import (
    Busy,
    Ending,
    Holding,
    QuotaExceeded,
    Refused,
    Run,
    Unavailable,
    Volume,
)
from dispatcher.executors.kubernetes import endings, manifests, readings
from dispatcher.executors.kubernetes.answers import Conflict, NotFound
from dispatcher.executors.kubernetes.cache import Cache
from dispatcher.executors.kubernetes.client import Client, Json
from dispatcher.executors.kubernetes.feed import Feed
from dispatcher.executors.kubernetes.logs import PodLog
from dispatcher.executors.kubernetes.settings import KubernetesSettings
from dispatcher.executors.kubernetes.watch import Pace, Watch

START_PATIENCE = 10.0
"""Seconds that `start` waits for the first lists before it says what is wrong."""

SUCCESSOR_PATIENCE = 2.0
"""Seconds that `start_run` waits for the run before to be gone; then the caller asks again."""

LOOK = 0.1
"""Seconds between two such looks."""

REHEARSAL = "rehearsal"
"""Id of the task whose objects are tried out at start, without being made."""


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
        core = f"/api/v1/namespaces/{settings.namespace}"
        self._claims_path = f"{core}/persistentvolumeclaims"
        self._pods_path = f"{core}/pods"
        self._jobs_path = f"/apis/batch/v1/namespaces/{settings.namespace}/jobs"
        self._client = Client(settings.kubeconfig, self._log)
        self._cache = Cache()
        self._runs: Feed[Run] = Feed(self._cache, self._cache.runs, readings.run)
        self._volumes: Feed[Volume] = Feed(self._cache, self._cache.volumes, readings.volume)
        selector = manifests.selector(settings)
        self._watches: tuple[Watch[Run], Watch[Volume]] = (
            Watch(self._client, self._jobs_path, selector, self._runs, self._log, pace),
            Watch(self._client, self._claims_path, selector, self._volumes, self._log, pace),
        )
        self._fresh: set[str] = set()
        self._fresh_lock = threading.Lock()

    # --- life -------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to watch; return when both lists are in and the manifests were tried out.

        Raise `Unavailable` when the server does not answer (calling again goes on waiting), and
        `Misconfigured` when it refuses what the settings make of any task.
        """
        self._client.open()
        deadline = time.monotonic() + START_PATIENCE
        for watch in self._watches:
            watch.start()
        for watch in self._watches:
            if not watch.synced(max(0.0, deadline - time.monotonic())):
                raise Unavailable(watch.trouble())
        self._rehearse()

    def close(self) -> None:
        """Stop watching and let go of everything; runs go on."""
        for watch in self._watches:
            watch.close()
        self._client.close()
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

    def _rehearse(self) -> None:
        """Have the server judge both manifests without making them: settings fail here or never."""
        task = Task(REHEARSAL, "https://course-runner.invalid/course/rehearsal/")
        claim = manifests.claim(task, self._settings)
        job = manifests.job(Assignment(task, 1), self._settings, self._environment)
        for path, body in ((self._claims_path, claim), (self._jobs_path, job)):
            try:
                self._client.create(path, body, {"dryRun": "All", "fieldValidation": "Strict"})
            except (Conflict, QuotaExceeded):
                continue
            except Refused as exc:
                self._heed(exc)

    def _heed(self, error: Refused) -> None:
        if "does not support dry run" in error.summary:
            self._log.event("CHECK", "The settings cannot be tried out: %s", error.summary)
            return
        raise Misconfigured(
            error.summary, advice="Mend the setting that the server's words speak of."
        ) from error

    # --- volumes ----------------------------------------------------------------------------------
    def ensure_volume(self, task: Task) -> bool:
        """Make the task's claim; see the Protocol."""
        name = names.object_name(task.key)
        body = manifests.claim(task, self._settings)
        try:
            self._volumes.seen(self._client.create(self._claims_path, body))
        except Conflict:
            self._check_ours(name, task)
            return False
        with self._fresh_lock:
            self._fresh.add(name)
        return True

    def _check_ours(self, name: str, task: Task) -> None:
        """Raise unless the claim that has the name is this very task's, and stays."""
        claim = self._get(self._claims_path, name)
        if claim is None or readings.is_deleting(claim):
            raise Busy(f"The old claim {self._settings.namespace}/{name} is still going away.")
        owner = readings.label(claim, names.LABEL_INSTANCE)
        if owner != self._settings.instance or _task_key(claim) != task.key:
            raise Refused(
                f"The name {name} in namespace {self._settings.namespace} is taken by a claim "
                f"that is not task {task.key}'s of instance {self._settings.instance}.",
                advice="Remove or rename that claim, or use another INSTANCE or NAMESPACE.",
            )
        self._volumes.seen(claim)

    def mark(self, name: str, marks: Mapping[str, str | None]) -> None:
        """Merge marks into the claim's annotations; see the Protocol."""
        known = self._cache.holdings().get(name)
        body = {"metadata": {"annotations": dict(marks)}}
        try:
            self._volumes.seen(self._client.patch(f"{self._claims_path}/{name}", body))
        except NotFound:
            if known and known.volume:
                self._volumes.forget(name, known.volume.id)

    def remove_volume(self, name: str, volume_id: str) -> None:
        """Remove that very claim; see the Protocol.

        A claim that is deleted under a running pod could never be used again by the next one, and
        a pod that has ended still holds it: so first the Job goes, then the pods, then the claim.
        """
        where = f"{self._settings.namespace}/{name}"
        if self._get(self._jobs_path, name) is not None:
            raise Busy(f"The Job {where} still has its volume.")
        if self._pods(name):
            raise Busy(f"Pods of the Job {where} are still going away.")
        answer = self._remove(f"{self._claims_path}/{name}", volume_id)
        self._volumes.removed(name, volume_id, answer)

    # --- runs -------------------------------------------------------------------------------------
    def start_run(self, assignment: Assignment) -> bool:
        """Start a run on the task's claim; see the Protocol."""
        name = names.object_name(assignment.task.key)
        if not self._is_fresh(name):
            self._check_volume(name)
            self._check_no_writer(name)
        if self._create_run(assignment):
            return True
        deadline = time.monotonic() + SUCCESSOR_PATIENCE
        while not self._is_there(name, assignment):
            self._check_no_writer(name)
            if self._create_run(assignment):
                return True
            if time.monotonic() > deadline:
                raise Busy(f"The old Job {self._settings.namespace}/{name} is still going away.")
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
            self._runs.seen(self._client.create(self._jobs_path, body))
        except Conflict:
            return False
        return True

    def _is_there(self, name: str, assignment: Assignment) -> bool:
        """Whether the Job that has the name is the one asked for, or a later one.

        Else ask for its removal if it has ended. Raise `Busy` while it is at work.
        """
        job = self._get(self._jobs_path, name)
        if job is None or readings.is_deleting(job):
            return False
        self._runs.seen(job)
        wanted = (assignment.attempt, assignment.report is not None)
        if (readings.attempt(job), readings.is_closing(job)) >= wanted:
            return True
        if readings.end_of(job) is None:
            raise Busy(f"An earlier run of {self._settings.namespace}/{name} is still at work.")
        self.remove_run(name, readings.id_of(job))
        return False

    def _check_volume(self, name: str) -> None:
        """Raise `Busy` unless there is a claim that stays: without it a run would wait for ever."""
        known = self._cache.holdings().get(name)
        if known and known.volume and not known.volume.deleting:
            return
        claim = self._get(self._claims_path, name)
        if claim is None or readings.is_deleting(claim):
            raise Busy(f"There is no claim {self._settings.namespace}/{name}, or it is going away.")

    def _check_no_writer(self, name: str) -> None:
        """Raise `Busy` while a pod of a removed Job still writes: its Job is gone before it is."""
        alive = [pod for pod in self._pods(name) if not endings.is_over(pod)]
        if alive:
            node = (alive[0].get("spec") or {}).get("nodeName") or "none yet"
            raise Busy(
                f"Pod {readings.name_of(alive[0])} (node: {node}) is still stopping.",
                advice="If its node is gone for good, delete the Node or taint it out-of-service.",
            )

    def remove_run(self, name: str, run_id: str) -> None:
        """Remove that very Job and, through the garbage collector, its pods."""
        answer = self._remove(f"{self._jobs_path}/{name}", run_id)
        self._runs.removed(name, run_id, answer)

    def ending(self, name: str, run: Run) -> Ending:
        """Return how an ended run ended, as far as anything still knows."""
        pods = self._pods(name, f"batch.kubernetes.io/controller-uid={run.id}")
        job = self._get(self._jobs_path, name)
        if job is not None and readings.id_of(job) != run.id:
            job = None
        return endings.ending(job, pods)

    def logs(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of the task's newest run, without line breaks."""
        log = PodLog(self._client, self._pods_path, lambda: endings.newest(self._pods(name)))
        return log.follow() if follow else log.lines()

    # --- calls ------------------------------------------------------------------------------------
    def _get(self, path: str, name: str) -> Json | None:
        try:
            return self._client.get(f"{path}/{name}")
        except NotFound:
            return None

    def _pods(self, name: str, selector: str = "") -> list[Json]:
        """Return the pods of the Job of that name, or those that `selector` finds."""
        query = {"labelSelector": selector or f"batch.kubernetes.io/job-name={name}"}
        return list(self._client.get(self._pods_path, query).get("items") or ())

    def _remove(self, path: str, object_id: str) -> Json:
        """Delete that very object; {} when it is gone already, also if it has a successor.

        Raise `Conflict` when the server says anything else than that the uid is not the one.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            # Said always: a Job deleted without it leaves its pods behind.
            "propagationPolicy": "Background",
            "preconditions": {"uid": object_id},
        }
        try:
            return self._client.delete(path, options)
        except NotFound:
            return {}
        except Conflict as exc:
            if "UID in precondition" not in exc.summary:
                raise
            return {}


def _task_key(claim: Json) -> str | None:
    """Return the id of the task whose message the claim carries."""
    try:
        return Task.parse(readings.annotation(claim, names.MESSAGE).encode()).key
    except BadMessage:
        return None
