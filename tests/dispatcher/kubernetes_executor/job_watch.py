"""Every Job ever made in a namespace, counted from a watch, which loses nothing as events may."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import cluster
from tests.services import until

_FORMAT = 'jsonpath={.metadata.name} {.metadata.uid}{"\\n"}'


@contextmanager
def jobs_made(space: str, folder: Path) -> Iterator[Callable[[str], int]]:
    """Watch inside the block; the function tells how many Jobs of a name there have been."""
    path = folder / f"jobs-{space}.txt"
    command = [str(cluster.kubectl()), f"--kubeconfig={cluster.kubeconfig()}", "get", "jobs"]
    command += ["-n", space, "--watch", "-o", _FORMAT]
    with path.open("wb") as out:
        watch = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)

    def count(name: str) -> int:
        """Wait until the Job that is there now has been seen, then count."""
        now = subprocess.run(
            [*command[:3], "jobs", name, "-n", space, "-o", _FORMAT],
            capture_output=True, text=True, check=False,
        ).stdout.strip()  # fmt: skip
        assert watch.poll() is None
        until(lambda: now in path.read_text(), f"the Job of {name} is seen")
        return len({line for line in path.read_text().splitlines() if line.split()[0] == name})

    try:
        yield count
    finally:
        watch.terminate()
        watch.wait(10)
