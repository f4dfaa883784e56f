"""What can be seen on a cluster: claims and Jobs, watched; logs and warnings, asked for.

Needs the rights get, list and watch on claims, Jobs, pods, their logs and events, and no other.
What is on a volume cannot be read from here: a claim is mounted by its run alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from contract.env import Reader
from contract.errors import CourseRunnerError
from contract.log import Log
from dispatcher.executors import Holding
from dispatcher.executors.kubernetes.client import Client
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from dispatcher.executors.kubernetes.objects import Objects
from dispatcher.executors.kubernetes.readings import name_of
from dispatcher.executors.kubernetes.settings import read
from dispatcher.settings import Settings
from dispatcher.web.edge import Edge
from dispatcher.web.facts import ClusterEvent
from dispatcher.web.sight import TAIL, Manifest

AGAIN = 5.0
"""Seconds between tries to reach the API server."""

FRESH = 3.0
"""Seconds for which a log's tail counts: however many look, the API server is asked once."""

_AFAR = "The manifest is on the volume, which only the task's own run can read on a cluster."


class ClusterSight:
    """Implements `Sight` with an executor that is only asked."""

    def __init__(self, executor: KubernetesExecutor, client: Client, objects: Objects) -> None:
        self._executor = executor
        self._client = client
        self._objects = objects
        self._trouble = "The cluster has not been looked at yet."
        self._edge = Edge("The cluster")
        self._ready = False
        self._tails: dict[str, tuple[float, tuple[tuple[str, ...], str]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._begin, name="sight", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._executor.close()
        self._client.close()

    def _begin(self) -> None:
        while not self._stop.is_set():
            self._trouble = self._edge(self._reach)
            if not self._trouble:
                self._ready = True
                return
            self._stop.wait(AGAIN)

    def _reach(self) -> None:
        self._client.open()
        self._executor.start()

    def trouble(self) -> str:
        """Return why the view may be stale, or ""."""
        return self._executor.trouble() if self._ready else self._trouble

    def holdings(self) -> Mapping[str, Holding] | None:
        """Return claims and Jobs, as last seen."""
        return self._executor.holdings() if self._ready else None

    def used(self, name: str) -> int | None:
        """Return None: what a claim's files take, only its run can see."""

    def tail(self, name: str) -> tuple[tuple[str, ...], str]:
        """Return the last lines of the newest pod's log."""
        at, known = self._tails.get(name, (-FRESH, ((), "")))
        if time.monotonic() - at >= FRESH:
            known = self._read_tail(name)
            self._tails = {**dict(list(self._tails.items())[-50:]), name: (time.monotonic(), known)}
        return known

    def _read_tail(self, name: str) -> tuple[tuple[str, ...], str]:
        if not self._ready:
            return (), self._trouble
        try:
            lines = tuple(deque(self._executor.logs(name), TAIL))
        except CourseRunnerError as exc:
            return (), exc.summary
        return lines, "" if lines else "No pod of this task has a log that is still here."

    def manifest(self, name: str) -> Manifest:
        """Return why nothing can be told."""
        return Manifest(note=_AFAR)

    def events(self, name: str) -> tuple[ClusterEvent, ...]:
        """Return the warnings about claim, Job and pods, oldest first."""
        if not self._ready:
            return ()
        try:
            about = [("PersistentVolumeClaim", name), ("Job", name)]
            about += [("Pod", name_of(pod)) for pod in self._objects.pods_of(name)]
            found = [
                _event(kind, one)
                for kind, who in about
                for one in self._objects.warnings_of(kind, who)
            ]
        except CourseRunnerError as exc:
            return (ClusterEvent("", name, "", exc.summary),)
        return tuple(sorted(found, key=lambda event: event.at))


def make(settings: Settings) -> ClusterSight:
    """Return the sight of the cluster that the settings name."""
    chosen, log = read(Reader(settings.environment)), Log.for_task()
    client = Client(chosen.kubeconfig, log)
    executor = KubernetesExecutor(chosen, settings.environment, log=log)
    return ClusterSight(executor, client, Objects(client, chosen.namespace))


def _event(kind: str, event: dict[str, Any]) -> ClusterEvent:
    name = (event.get("involvedObject") or {}).get("name", "")
    at = event.get("lastTimestamp") or event.get("eventTime") or ""
    words = str(event.get("message", ""))
    return ClusterEvent(str(at), f"{kind} {name}", str(event.get("reason", "")), words)
