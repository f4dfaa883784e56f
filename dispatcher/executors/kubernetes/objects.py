"""The few questions and requests about a task's objects, by name: claims, Jobs, pods.

Goes in: names and manifests. Comes out: objects as the API server has them; None or {} where one
is gone already, for that is what was wanted or is worth knowing, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.executors import Unavailable
from dispatcher.executors.kubernetes.answers import Conflict, NotFound
from dispatcher.executors.kubernetes.client import Client, Json
from dispatcher.executors.kubernetes.readings import id_of

BACKGROUND = "Background"
FOREGROUND = "Foreground"
"""How the garbage collector removes what belongs to an object: after it, or before it. One of them
is said always, for a Job that is deleted without leaves its pods behind."""


class Objects:
    """The objects of one namespace."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        core = f"/api/v1/namespaces/{namespace}"
        self.claims = f"{core}/persistentvolumeclaims"
        self.pods = f"{core}/pods"
        self.jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    def claim(self, name: str) -> Json | None:
        """Return the claim as it is now."""
        return self._get(f"{self.claims}/{name}")

    def job(self, name: str) -> Json | None:
        """Return the Job as it is now."""
        return self._get(f"{self.jobs}/{name}")

    def pods_of(self, name: str) -> list[Json]:
        """Return all pods of Jobs of that name."""
        return self._pods(f"batch.kubernetes.io/job-name={name}")

    def pods_of_run(self, job_id: str) -> list[Json]:
        """Return all pods of that very Job."""
        return self._pods(f"batch.kubernetes.io/controller-uid={job_id}")

    def annotate(
        self, name: str, values: Mapping[str, str | None], version: str | None = None
    ) -> Json | None:
        """Merge annotations into the claim and return it; None when it is gone.

        Raise `Conflict` when it is no longer of `version`, if that is given.
        """
        seen = {"resourceVersion": version} if version else {}
        body = {"metadata": {"annotations": dict(values), **seen}}
        try:
            return self.client.patch(f"{self.claims}/{name}", body)
        except NotFound:
            return None

    def resize(self, name: str, size: int) -> Json:
        """Ask for a larger claim; return it. Raise `Refused` where its class does not allow it."""
        body = {"spec": {"resources": {"requests": {"storage": str(size)}}}}
        return self.client.patch(f"{self.claims}/{name}", body)

    def warnings_of(self, kind: str, name: str) -> list[Json]:
        """Return the latest warnings about an object, newest last; none without the right to."""
        fields = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
        path = f"{self.pods.removesuffix('/pods')}/events"
        try:
            found = self.client.get(path, {"fieldSelector": fields, "limit": "20"}, tries=1)
        except (Unavailable, NotFound):
            return []  # events only add words; the cluster may keep them from us
        return sorted(found.get("items") or (), key=lambda event: str(event.get("lastTimestamp")))

    def remove(self, path: str, object_id: str, policy: str, version: str | None = None) -> Json:
        """Remove that very object, of that `version` if given; return it if it lingers, else {}.

        A successor of the same name is left alone. Raise `Conflict` when the server refuses for
        any other reason than that; it says so in several wordings, so the object is looked at.
        """
        seen = {"resourceVersion": version} if version else {}
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": policy,
            "preconditions": {"uid": object_id, **seen},
        }
        try:
            return self.client.delete(path, options)
        except NotFound:
            return {}
        except Conflict:
            there = self._get(path)
            if there is not None and id_of(there) == object_id:
                raise
            return {}

    def _get(self, path: str) -> Json | None:
        try:
            return self.client.get(path)
        except NotFound:
            return None

    def _pods(self, selector: str) -> list[Json]:
        return list(self.client.get(self.pods, {"labelSelector": selector}).get("items") or ())
