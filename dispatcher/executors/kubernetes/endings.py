"""How an ended run ended, from what is left of it: its pods, else its Job. Pure.

Goes in: the Job and what pods of it there still are. Comes out: an `Ending`. A rule that ended the
Job names the pod it was about, and that one knows most (exit code, last words); an eviction or a
lost node removes it, and then the Job's own sentence is all there is: what an older pod left must
not be taken for it. Without a rule, the newest pod is asked (OOM).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from contract.outcome import Outcome
from dispatcher.executors import Ending
from dispatcher.executors.kubernetes.manifests import CONTAINER
from dispatcher.executors.kubernetes.readings import Json, created, end_of, name_of

DELETED = "Deleted"
"""The Job itself is gone, and with it whatever could be known."""
DISRUPTED = "Disrupted"
"""Taken away by the cluster; the pod, which would know by whom, is gone."""
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
_TAKEN_AWAY = "has condition DisruptionTarget"
_NAMED = re.compile(rf"[Pp]od (?:[^ /]+/)?(\S+) (?:{_TAKEN_AWAY}|failed with exit code)")
"""The pod in a Job's sentence about the rule that ended it (job controller, 1.31 to 1.37)."""


def ending(job: Json, pods: Sequence[Json]) -> Ending:
    """Return how the run of `job` ended."""
    condition = end_of(job) or {}
    said = str(condition.get("message") or "")
    seen = _of_pod(_telling(pods, said))
    if condition.get("reason") == DEADLINE:
        return Ending(seen.exit, seen.words, DEADLINE)
    if _TAKEN_AWAY in said:
        return replace(seen, reason=seen.reason or DISRUPTED, disrupted=True)
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


def _telling(pods: Sequence[Json], said: str) -> Json | None:
    """Return the pod that tells the run's end: the one that the Job names, else the newest."""
    match = _NAMED.search(said)
    if match is None:
        return newest(pods)
    return next((pod for pod in pods if name_of(pod) == match[1]), None)


def _of_pod(pod: Json | None) -> Ending:
    if pod is None:
        return Ending()
    end = container_state(pod).get("terminated") or {}
    code = end.get("exitCode")
    words = Outcome.parse(str(end.get("message") or ""))
    taken = _disruption(pod)
    said = (pod.get("status") or {}).get("message") or taken.get("message")
    return Ending(code, words, _reason(pod, end, taken, code), bool(taken), str(said or ""))


def _reason(pod: Json, end: Mapping[str, Any], taken: Mapping[str, Any], code: int | None) -> str:
    """A death from outside; "" when the program ended by itself."""
    said = (pod.get("status") or {}).get("reason") or ""
    if said:  # the kubelet's own: Evicted, NodeLost, OutOfcpu, …
        return str(said)
    if end.get("reason") in _FROM_OUTSIDE:
        return str(end["reason"])
    if taken:
        reason = str(taken.get("reason") or "")
        return NODE_LOST if reason in _NODE_GONE else reason
    return KILLED if code == SIGKILL else ""


def _disruption(pod: Json) -> Mapping[str, Any]:
    """Return the condition that says the pod was taken away, {} without one."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    kind = ("DisruptionTarget", "True")
    found = (c for c in conditions if (c.get("type"), c.get("status")) == kind)
    return next(found, None) or {}


def _of_job(condition: Mapping[str, Any]) -> Ending:
    """What a Job knows without its pods: that it was done, or the code that its rules met."""
    if condition.get("type") == "Complete":
        return Ending(exit=0)
    reason = str(condition.get("reason") or "")
    match = _EXIT_CODE.search(str(condition.get("message") or ""))
    code = int(match[1]) if match else None
    return Ending(exit=code, reason="" if reason in _SAYS_NOTHING and match else reason)
