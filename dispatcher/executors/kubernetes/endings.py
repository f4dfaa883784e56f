"""How an ended run ended, from what is left of it: its pods, else its Job. Pure.

Goes in: the Job and what pods of it there still are. Comes out: an `Ending`. The newest pod knows
most (exit code, last words, OOM); a deadline or a drain removes pods, and then the Job's own
condition is all there is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from contract.outcome import Outcome
from dispatcher.executors import Ending
from dispatcher.executors.kubernetes.manifests import CONTAINER
from dispatcher.executors.kubernetes.readings import Json, created, end_of, name_of

DELETED = "Deleted"
"""The Job itself is gone, and with it whatever could be known."""
NODE_LOST = "NodeLost"
KILLED = "Killed"
DEADLINE = "DeadlineExceeded"
SIGKILL = 137

_FROM_OUTSIDE = ("OOMKilled", "ContainerCannotRun", "StartError", "ContainerStatusUnknown")
"""Reasons of a container's end that say more than its exit code."""
_NODE_GONE = ("DeletionByPodGC", "DeletionByTaintManager")
"""Reasons of the condition DisruptionTarget that mean the pod's node is away."""
_SAYS_NOTHING = ("PodFailurePolicy",)
"""Reasons of a failed Job that only repeat that an exit code ended it."""
_EXIT_CODE = re.compile(r"exit code (\d+)")


def ending(job: Json, pods: Sequence[Json]) -> Ending:
    """Return how the run of `job` ended."""
    condition = end_of(job) or {}
    seen = _of_pods(pods)
    if condition.get("reason") == DEADLINE:
        return Ending(seen.exit, seen.words, DEADLINE)
    if seen.exit is not None or seen.reason:
        return seen
    return _of_job(condition)


def newest(pods: Sequence[Json]) -> Json | None:
    """Return the pod that was made last."""
    return max(pods, key=lambda pod: (created(pod), name_of(pod)), default=None)


def is_over(pod: Json) -> bool:
    """Whether the pod's containers have ended for good, so that it writes no more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def container_state(pod: Json) -> Mapping[str, Any]:
    """Return the state of the job's container: {"waiting"|"running"|"terminated": {…}} or {}."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    found = (s for s in statuses if s.get("name") == CONTAINER)
    return (next(found, None) or {}).get("state") or {}


def _of_pods(pods: Sequence[Json]) -> Ending:
    pod = newest(pods)
    if pod is None:
        return Ending()
    end = container_state(pod).get("terminated") or {}
    code = end.get("exitCode")
    words = Outcome.parse(str(end.get("message") or ""))
    return Ending(code, words, _reason(pod, end, code))


def _reason(pod: Json, end: Mapping[str, Any], code: int | None) -> str:
    """A death from outside; "" when the program ended by itself."""
    said = (pod.get("status") or {}).get("reason") or ""
    if said:  # the kubelet's own: Evicted, NodeLost, OutOfcpu, …
        return str(said)
    if end.get("reason") in _FROM_OUTSIDE:
        return str(end["reason"])
    if _disruption(pod) in _NODE_GONE:
        return NODE_LOST
    return KILLED if code == SIGKILL else ""


def _disruption(pod: Json) -> str:
    conditions = (pod.get("status") or {}).get("conditions") or []
    found = (c for c in conditions if c.get("type") == "DisruptionTarget")
    return str((next(found, None) or {}).get("reason") or "")


def _of_job(condition: Mapping[str, Any]) -> Ending:
    """What a Job knows without its pods: that it was done, or the code that its rules met."""
    if condition.get("type") == "Complete":
        return Ending(exit=0)
    reason = str(condition.get("reason") or "")
    match = _EXIT_CODE.search(str(condition.get("message") or ""))
    code = int(match[1]) if match else None
    return Ending(exit=code, reason="" if reason in _SAYS_NOTHING and match else reason)
