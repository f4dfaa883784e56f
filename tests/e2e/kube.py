"""kubectl for the tests, and waiting for a state with a deadline."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Kube:
    """One namespace of one cluster, through kubectl."""

    def __init__(self, kubectl: Path, kubeconfig: Path, namespace: str) -> None:
        self._base = [str(kubectl), f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]
        self.namespace = namespace

    def run(self, *words: str, text: str | None = None) -> str:
        """Run kubectl; its standard output."""
        done = subprocess.run(
            [*self._base, *words], input=text, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.run("apply", "-f", "-", text="\n---\n".join(json.dumps(o) for o in objects))

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind, by label."""
        words = ["get", kind, "-o", "json", *([f"--selector={selector}"] if selector else [])]
        found: list[dict[str, Any]] = json.loads(self.run(*words))["items"]
        return found

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start kubectl and leave it running."""
        return subprocess.Popen([*self._base, *words], stdout=subprocess.PIPE, text=True)


def until(look: Callable[[], T | None], what: str | Callable[[], str], seconds: float = 120) -> T:
    """Look until there is something to see; fail naming `what` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"Not within {seconds:.0f} s: {what if isinstance(what, str) else what()}"
            )
        time.sleep(0.2)  # between two looks at a cluster that is not ours to wake us
