"""What any chaos on an API server sees: the Jobs that are alive, the verdicts on the claims.

Goes in: a kubeconfig and a namespace. A thread looks at the Jobs five times a second and keeps the
most that were alive at once; a ground does its own work at each look (`_attend`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from kubernetes.client.rest import RESTClientObject
from kubernetes.config import new_client_from_config

from contract import names

Json = dict[str, Any]
LOOK = 0.2
"""Seconds between two looks."""
UNDONE = "status.successful=0"
"""What is looked at: of hundreds of orders, the Jobs that succeeded stay."""


class Jobs:
    """One namespace; `image` is that of the runs."""

    def __init__(self, kubeconfig: Path, namespace: str, image: str) -> None:
        self._kubeconfig, self._namespace, self._image = kubeconfig, namespace, image
        make: Any = new_client_from_config  # untyped
        known = make(str(kubeconfig))
        self._pool = RESTClientObject(known.configuration).pool_manager
        self._host = known.configuration.host.rstrip("/")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="jobs")
        self.most = 0
        """Most Jobs that were seen without an end at one look."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def settings(self) -> Mapping[str, str]:
        """What makes dispatchers work here."""
        return {
            "EXECUTOR": "kubernetes",
            "KUBECONFIG": str(self._kubeconfig),
            "NAMESPACE": self._namespace,
            "JOB_IMAGE": self._image,
            "JOB_BACKOFF_LIMIT": "0",
        }

    def categories(self) -> dict[str, str]:
        """The category of the verdict on each claim, by task."""
        found = {}
        for claim in self._items("/api/v1", "persistentvolumeclaims"):
            marks = claim["metadata"].get("annotations", {})
            task = str(json.loads(marks[names.MESSAGE])["taskId"])
            found[task] = str(json.loads(marks.get(names.OUTCOME, "{}")).get("category", ""))
        return found

    def _watch(self) -> None:
        while not self._stop.wait(LOOK):
            jobs = self._items("/apis/batch/v1", "jobs", UNDONE)
            self.most = max(self.most, sum(not _ended(job) for job in jobs))
            self._attend()

    def _attend(self) -> None:
        """Do what the ground has to do at each look."""

    def _items(self, group: str, kind: str, fields: str = "") -> list[Json]:
        path = f"{self._host}{group}/namespaces/{self._namespace}/{kind}"
        answer = self._pool.request("GET", path, fields={"fieldSelector": fields})
        assert answer.status == 200, answer.data
        items: list[Json] = json.loads(answer.data)["items"]
        return items


def _ended(job: Json) -> bool:
    conditions: list[Json] = job.get("status", {}).get("conditions") or []
    return any(one["type"] in ("Complete", "Failed") for one in conditions)
