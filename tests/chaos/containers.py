"""The ground of the chaos in real pods: real containers on real volumes, webhooks sent from within.

Goes in: a cluster built by `tests.cluster`, for runs are killed and journals read on this machine.
The program is that of the chaos on one machine, put before the image's own by a ConfigMap. Volumes
are folders that are made beforehand: a provisioner's two pods per volume would cost as much as the
runs do, and prove nothing.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.chaos.jobs import Jobs, Json
from tests.chaos.judge import Life, lives
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.namespaces import apply, kubectl

PROGRAM = "chaos-program"
_SPARE = 5
"""Volumes beyond one for each order: none must be used."""
_FILES = {"__init__.py": "", "__main__.py": "program.py", "event.py": "event.py"}
_POD = {
    "env": [
        {"name": "PYTHONPATH", "value": "/chaos"},
        {"name": "JOURNAL", "value": "/sandbox/.state/journal"},
    ],
    "volumes": [{"name": "chaos", "configMap": {"name": PROGRAM}}],
    "volumeMounts": [{"name": "chaos", "mountPath": "/chaos/job_image", "readOnly": True}],
}


class Containers(Jobs):
    """One namespace, and `orders` volumes below `folder`."""

    def __init__(
        self, kubeconfig: Path, namespace: str, image: str, folder: Path, orders: int
    ) -> None:
        super().__init__(kubeconfig, namespace, image)
        self.host = cluster.bind_address()
        self._volumes = folder / "volumes"
        self._count = orders + _SPARE

    def __enter__(self) -> Self:
        here = Path(__file__).parent
        data = {name: (here / file).read_text() if file else "" for name, file in _FILES.items()}
        meta = {"name": PROGRAM, "namespace": self._namespace}
        apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
        apply(_storage_class(self._namespace))
        for number in range(self._count):
            self._make_volume(number)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        label = f"chaos={self._namespace}"
        kubectl("delete", "pvc", "--all", "-n", self._namespace, "--wait=false")
        kubectl("delete", "pv,storageclass", "-l", label, "--wait=false")

    @property
    def settings(self) -> Mapping[str, str]:
        """What makes dispatchers work here."""
        small = {"VOLUME_SIZE": "1Mi", "JOB_CPU_REQUEST": "10m", "JOB_MEMORY_REQUEST": "16Mi"}
        here = {"STORAGE_CLASS": self._namespace, "JOB_POD": json.dumps(_POD)}
        return {**super().settings, **small, **here}

    def journal(self) -> list[Json]:
        """What the runs noted, oldest first."""
        lines = [line for path in self._journals() for line in path.read_text().splitlines()]
        return sorted((json.loads(line) for line in lines), key=lambda entry: float(entry["at"]))

    def kill_run(self, whom: float) -> bool:
        """Kill a run that is alive; false when there is none."""
        alive = [life for life in lives(self.journal()) if life.ended is None]
        return bool(alive) and self._kill(alive[int(whom * len(alive))])

    def _kill(self, life: Life) -> bool:
        begun = ("start", life.task, life.began)
        found = (e for e in self.journal() if (e["event"], e["task"], e["at"]) == begun)
        pod = str(next(found)["pid"])
        for process in Path("/proc").glob("[0-9]*"):
            if _kill_if_of(pod, int(process.name)):
                self._note(life, pod)
                return True
        return False

    def _note(self, life: Life, pod: str) -> None:
        entry: Json = {"event": "killed", "task": life.task, "kind": life.kind, "step": ""}
        entry |= {"attempt": life.attempt, "pid": pod, "at": time.time()}
        path = next(path for path in self._journals() if f'"{pod}"' in path.read_text())
        with path.open("a") as journal:
            journal.write(json.dumps(entry) + "\n")

    def _journals(self) -> list[Path]:
        return list(self._volumes.glob("*/.state/journal"))

    def _make_volume(self, number: int) -> None:
        folder = self._volumes / str(number)
        folder.mkdir(parents=True)
        folder.chmod(0o777)  # its run is a user that this machine does not know
        volume: Any = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"{self._namespace}-{number}",
                "labels": {"chaos": self._namespace},
            },
            "spec": {
                "storageClassName": self._namespace,
                "capacity": {"storage": "1Mi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(folder)},
            },
        }
        answer = self._pool.request(
            "POST", f"{self._host}/api/v1/persistentvolumes", body=json.dumps(volume).encode(),
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status == 201, answer.data


def _storage_class(name: str) -> Json:
    """One whose claims are bound at once to a volume that is there."""
    meta = {"name": name, "labels": {"chaos": name}}
    head: Json = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": meta}
    return head | {
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
        "reclaimPolicy": "Retain",
    }


def _kill_if_of(pod: str, pid: int) -> bool:
    """Kill the process if it is the run of that pod."""
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            # Held by its descriptor, the number cannot come to name another process meanwhile.
            if f"HOSTNAME={pod}\0" not in Path(f"/proc/{pid}/environ").read_text():
                return False
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return True
        finally:
            os.close(handle)
    return False
