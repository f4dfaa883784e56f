"""The ground of the chaos on a real API server: real Jobs and controllers, and a kubelet of ours.

The pods fit no node, so none of them costs a container; what a kubelet would report of them, this
one reports: after the time that the order names, the end that it asks for, with the webhook that
the run would have sent. All else is Kubernetes'. `containers` has the same with real pods.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from contract.outcome import CATEGORIES, ExitCode
from tests.chaos import event
from tests.chaos.jobs import Jobs, Json

NOWHERE = '{"chaos":"nowhere"}'
KILLED = 137
UNSTARTED = "status.phase=Pending"
"""The pods that are looked at: those that have ended stay, by the hundred."""


class Cluster(Jobs):
    """One namespace; `image` is never pulled."""

    host = "127.0.0.1"

    def __init__(self, kubeconfig: Path, namespace: str, image: str) -> None:
        super().__init__(kubeconfig, namespace, image)
        self._alive: dict[str, tuple[float, Json]] = {}
        self._over: set[str] = set()
        self._moments: dict[tuple[str, str], int] = {}
        """When each event was first told, as a volume would keep it."""
        self._told: set[tuple[str, str]] = set()
        self._lines: list[Json] = []
        self._lock = threading.Lock()

    @property
    def settings(self) -> Mapping[str, str]:
        """What makes dispatchers work here."""
        return {**super().settings, "JOB_NODE_SELECTOR": NOWHERE}

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

    # --- the kubelet ------------------------------------------------------------------------------
    def _attend(self) -> None:
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
            self._end(pod, _code(pod) or self._announce(pod))

    def _announce(self, pod: Json) -> int:
        """Send the webhook of a run that has done all else, unless it is sent; its exit code."""
        told = (str(_order(pod)["taskId"]), "failed" if _kind(pod) == "report" else "completed")
        if told in self._told:
            return 0
        moment = self._moments.setdefault(told, int(time.time()))
        if not event.deliver(_value(pod, "WEBHOOK_URL"), *told, moment):
            return int(ExitCode.NOT_DELIVERED)
        self._told.add(told)
        self._note(pod, "effect", "webhook")
        return 0

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


def _words(code: int) -> str:
    words: Json = {"category": CATEGORIES[ExitCode(code)], "summary": f"Exit {code}.", "exit": code}
    return json.dumps(words)


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
