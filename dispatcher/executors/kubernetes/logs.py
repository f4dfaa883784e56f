"""The log of a task's newest run, line by line, across the cuts of a long connection.

Goes in: how to find the newest pod. Comes out: lines. Each line is fetched with its time, so that
a stream that was cut (a quiet hour behind a proxy, a restarted API server) goes on after the last
line that was seen. A pod that has not begun yet is waited for when following.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from dispatcher.executors import Unavailable
from dispatcher.executors.kubernetes.answers import NotFound
from dispatcher.executors.kubernetes.client import Client, Json
from dispatcher.executors.kubernetes.endings import container_state, is_over
from dispatcher.executors.kubernetes.manifests import CONTAINER
from dispatcher.executors.kubernetes.readings import name_of

POLL = 1.0
"""Seconds between looks at a pod that has not begun."""

SILENCE = 300.0
"""Seconds without a line after which the stream is opened anew; a download may be quiet."""

PATIENCE = 5
"""Failures in a row that are borne while following."""


class PodLog:
    """Reads the log of the pod that `newest` finds."""

    def __init__(
        self,
        client: Client,
        path: str,
        newest: Callable[[], Json | None],
        poll: float = POLL,
    ) -> None:
        self._client = client
        self._poll = poll
        self._path = path
        self._newest = newest
        self._last = ""

    def lines(self) -> Iterator[str]:
        """Yield what there is."""
        pod = self._newest()
        if pod is not None and _has_begun(pod):
            yield from self._read(pod, follow=False)

    def follow(self) -> Iterator[str]:
        """Yield lines as they come, until the pod has ended. Raise `Unavailable` in the end."""
        failures = 0
        while (pod := self._newest()) is not None:
            before = self._last
            try:
                if _has_begun(pod):
                    yield from self._read(pod, follow=True)
            except Unavailable:
                failures = 0 if self._last != before else failures + 1
                if failures > PATIENCE:
                    raise
            else:
                if is_over(pod):  # it was over before it was read, so this was all
                    return
            time.sleep(self._poll)

    def _read(self, pod: Json, *, follow: bool) -> Iterator[str]:
        query = {"container": CONTAINER, "timestamps": "true"}
        query |= {"follow": "true"} if follow else {}
        seen = self._last
        query |= {"sinceTime": seen} if seen else {}
        try:
            for raw in self._client.lines(f"{self._path}/{name_of(pod)}/log", query, SILENCE):
                stamp, _, text = raw.decode("utf-8", "replace").partition(" ")
                if stamp > seen:  # the kubelet writes all nine digits, so texts compare as times
                    self._last = stamp
                    yield text
        except NotFound:
            return


def _has_begun(pod: Json) -> bool:
    state = container_state(pod)
    return "running" in state or "terminated" in state
