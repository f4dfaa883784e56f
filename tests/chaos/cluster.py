"""The ground of the chaos on a real API server: real Jobs and controllers, and a kubelet of ours.

The pods fit no node, so none of them costs a container; what a kubelet would report of them, this
one reports: after the time that the order names, the end that it asks for. All else is Kubernetes'.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes.client.rest import RESTClientObject
from kubernetes.config import new_client_from_config

from contract import names
from contract.outcome import CATEGORIES, ExitCode

Json = dict[str, Any]
NOWHERE = '{"chaos":"nowhere"}'
KILLED = 137
LOOK = 0.2
"""Seconds between two looks at the pods."""
UNDONE, UNSTARTED = "status.successful=0", "status.phase=Pending"
"""What is looked at: of hundreds of orders, the Jobs that succeeded and the ended pods stay."""


class Cluster:
    """One namespace; `image` is never pulled."""

    announces = False

    def __init__(self, kubeconfig: Path, namespace: str, image: str) -> None:
        self._kubeconfig, self._namespace, self._image = kubeconfig, namespace, image
        make: Any = new_client_from_config  # untyped
        known = make(str(kubeconfig))
        self._pool = RESTClientObject(known.configuration).pool_manager
        self._host = known.configuration.host.rstrip("/")
        self._alive: dict[str, tuple[float, Json]] = {}
        self._over: set[str] = set()
        self._lines: list[Json] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._be_a_kubelet, name="kubelet")
        self.most = 0
        """Most Jobs that were seen without an end at one look."""

    def __enter__(self) -> Cluster:
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
            "JOB_NODE_SELECTOR": NOWHERE,
            "JOB_BACKOFF_LIMIT": "0",
        }

    def journal(self) -> list[Json]:
        """What the runs came to, oldest first."""
        with self._lock:
            return list(self._lines)

    def kill_run(self, whom: float) -> bool:
        """Report a run as killed; false when there is none."""
        with self._lock:
            alive = list(self._alive.values())
            if not alive:
                return False
            self._end(alive[int(whom * len(alive))][1], KILLED)
        return True

    def categories(self) -> dict[str, str]:
        """The category of the verdict on each claim, by task."""
        found = {}
        for claim in self._items("/api/v1", "persistentvolumeclaims"):
            marks = claim["metadata"].get("annotations", {})
            task = str(json.loads(marks[names.MESSAGE])["taskId"])
            found[task] = str(json.loads(marks.get(names.OUTCOME, "{}")).get("category", ""))
        return found

    # --- the kubelet ------------------------------------------------------------------------------
    def _be_a_kubelet(self) -> None:
        while not self._stop.wait(LOOK):
            jobs = self._items("/apis/batch/v1", "jobs", UNDONE)
            ended = ("Complete", "Failed")
            live = [j for j in jobs if not any(c["type"] in ended for c in _conditions(j))]
            self.most = max(self.most, len(live))
            pods = self._items("/api/v1", "pods", UNSTARTED)
            with self._lock:
                for pod in pods:
                    self._care_for(pod)

    def _care_for(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if pod["status"]["phase"] != "Pending" or uid in self._over:
            return
        if uid not in self._alive:
            self._alive[uid] = (time.monotonic(), pod)
            self._note(pod, "start")
        began = self._alive[uid][0]
        if time.monotonic() - began > _order(pod)["work"]:
            self._end(pod, _code(pod))

    def _end(self, pod: Json, code: int) -> None:
        """Report an end. One that somebody has deleted meanwhile has ended too."""
        end: Json = {"exitCode": code, "message": "" if code == KILLED else _words(code)}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [
                {
                    "name": pod["spec"]["containers"][0]["name"],
                    "image": self._image,
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": end},
                }
            ],
        }
        path = f"{self._host}/api/v1/namespaces/{self._namespace}/pods/{pod['metadata']['name']}"
        answer = self._pool.request(
            "PATCH",
            f"{path}/status",
            body=json.dumps({"status": status}).encode(),
            headers={"Content-Type": "application/strategic-merge-patch+json"},
        )
        assert answer.status in (200, 404, 409), answer.data
        self._over.add(pod["metadata"]["uid"])
        if self._alive.pop(pod["metadata"]["uid"], None) is not None:
            self._note(pod, "killed" if code == KILLED else "end", str(code))

    def _note(self, pod: Json, event: str, step: str = "") -> None:
        entry: Json = {"event": event, "task": str(_order(pod)["taskId"]), "kind": _kind(pod)}
        entry |= {"attempt": int(_value(pod, "ATTEMPT")), "pid": pod["metadata"]["uid"]}
        self._lines.append({**entry, "at": time.time(), "step": step})

    def _items(self, group: str, kind: str, fields: str = "") -> list[Json]:
        path = f"{self._host}{group}/namespaces/{self._namespace}/{kind}"
        answer = self._pool.request("GET", path, fields={"fieldSelector": fields})
        assert answer.status == 200, answer.data
        items: list[Json] = json.loads(answer.data)["items"]
        return items


def _words(code: int) -> str:
    words: Json = {"category": CATEGORIES[ExitCode(code)], "summary": f"Exit {code}.", "exit": code}
    return json.dumps(words)


def _conditions(job: Json) -> list[Json]:
    found: list[Json] = job.get("status", {}).get("conditions") or []
    return found


def _value(pod: Json, name: str) -> str:
    return next(str(e["value"]) for e in pod["spec"]["containers"][0]["env"] if e["name"] == name)


def _order(pod: Json) -> Json:
    order: Json = json.loads(_value(pod, "TASK"))
    return order


def _kind(pod: Json) -> str:
    return "report" if "report" in pod["spec"]["containers"][0].get("args", ()) else "run"


def _code(pod: Json) -> int:
    """The end that the order asks for; being told to stop is the chaos of one machine."""
    if _kind(pod) == "report":
        return 0
    word, _, code = _order(pod)["do"].get(_value(pod, "ATTEMPT"), "").partition(" ")
    if word == "die":
        return KILLED
    return 0 if code == "143" else int(code or 0)
