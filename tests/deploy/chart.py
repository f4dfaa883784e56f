"""The chart rendered by the real Helm, as objects by kind and name."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm"
RELEASE, NAMESPACE = "shop", "courses"
STEM = "shop-course-runner"

Object = dict[str, Any]
Objects = dict[tuple[str, str], Object]


class Refused(Exception):
    """Helm did not render; the text is what it said."""


class Helm:
    """One Helm program and the chart."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def run(self, *words: str, values: Object | None = None) -> str:
        """Run Helm with these values on top of the chart's; its standard output."""
        given = ["--values", "-"] if values is not None else []
        ended = subprocess.run(
            [str(self.program), *words, *given],
            input=None if values is None else json.dumps(values),
            capture_output=True,
            text=True,
            timeout=60,
            env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        )
        if ended.returncode:
            raise Refused(ended.stderr + ended.stdout)
        return ended.stdout

    def text(self, values: Object | None = None, *words: str) -> str:
        """The whole rendering as text."""
        base = ["template", RELEASE, str(CHART), "--namespace", NAMESPACE]
        return self.run(*base, *words, values=values)

    def objects(self, values: Object | None = None, *words: str) -> Objects:
        """The rendered objects by kind and name."""
        found = [each for each in yaml.safe_load_all(self.text(values, *words)) if each]
        keys = [(each["kind"], each["metadata"]["name"]) for each in found]
        assert len(set(keys)) == len(keys), f"an object is rendered twice: {keys}"
        return dict(zip(keys, found, strict=True))

    def notes(self, values: Object | None = None, *words: str) -> str:
        """What NOTES.txt says: a dry run of an installation, which no cluster is needed for."""
        base = ["install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client"]
        return self.run(*base, *words, values=values).partition("NOTES:")[2]


def pod_of(thing: Object) -> Object:
    """The pod that an object makes, or is."""
    spec: Object = thing["spec"]
    while "template" in spec:
        spec = spec["template"]["spec"]
    return spec


def environment(objects: Objects) -> dict[str, str]:
    """The dispatcher's plain settings."""
    data: dict[str, str] = objects["ConfigMap", f"{STEM}-dispatcher"]["data"]
    return data
