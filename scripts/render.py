"""Writes what follows from the chart: helm/README.md, and the plain manifests of k8s/.

In: helm/values.yaml (its comments are the reference), helm/, k8s/values.yaml, and a Helm program:
HELM, or `helm` on PATH. Out: the files, or with `--check` exit code 1 and their names where they
are not what they would be. The manifests are one object per file, without what only Helm needs.

    python scripts/render.py [--check]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART, PLAIN = ROOT / "helm", ROOT / "k8s"
NAMESPACE = "course-runner"

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9_]*):(?: +(?P<value>.*))?$")
_HELM_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


# --- README.md ------------------------------------------------------------------------------------
def readme() -> str:
    """Return the reference: the written part, and a table made of the values' comments."""
    head = (CHART / "README.head.md").read_text(encoding="utf-8")
    return head + "\n" + "\n".join(_tables((CHART / "values.yaml").read_text(encoding="utf-8")))


def _tables(text: str) -> Iterator[str]:
    yield "| value | default | |\n|---|---|---|"
    for path, default, comment in entries(text):
        shown = "" if default is None else f"`{_short(default)}`"
        yield f"| `{path}` | {shown} | {comment} |"
    yield ""


def entries(text: str) -> Iterator[tuple[str, str | None, str]]:
    """Yield each value's path, its default as written (None for a group), and its comment."""
    comment: list[str] = []
    path: list[tuple[int, str]] = []
    values = yaml.safe_load(text)
    for line in text.splitlines():
        found = _KEY.match(line)
        if found is None:
            comment = _comment(comment, line)
            continue
        indent = len(found["indent"])
        path = [(i, key) for i, key in path if i < indent] + [(indent, found["key"])]
        keys = [key for _, key in path]
        value = _at(values, keys)
        group = isinstance(value, dict) and bool(value) and found["value"] is None
        if group and not comment and len(keys) == 1:
            comment = [""]
        if not group or any(comment):
            default = None if group else (found["value"] or _flow(value))
            yield ".".join(keys), default, _cell(comment)
        comment = []


def _comment(so_far: list[str], line: str) -> list[str]:
    text = line.strip()
    if not text.startswith("#") or text.startswith("# ---"):
        return []
    return [*so_far, text.lstrip("#").strip()]


def _at(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values[key] if isinstance(values, dict) else None
    return values


def _flow(value: Any) -> str:
    text = str(yaml.safe_dump(value, default_flow_style=True, width=1000))
    return text.strip().removesuffix("...").strip()


def _short(text: str) -> str:
    return text.strip().replace("|", "\\|")


def _cell(comment: list[str]) -> str:
    return " ".join(comment).replace("|", "\\|")


# --- k8s/ -----------------------------------------------------------------------------------------
def manifests() -> dict[str, str]:
    """Return the plain manifests by file name, and the kustomization that lists them."""
    command = [os.environ.get("HELM", "helm"), "template", "course-runner", str(CHART)]
    options = ["--namespace", NAMESPACE, "--values", str(PLAIN / "values.yaml"), "--no-hooks"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(
            f"render: {' '.join(command)} ended with {ended.returncode}:\n{ended.stderr}"
        )
    objects = [_plain(each) for each in yaml.safe_load_all(ended.stdout) if each]
    files = {"namespace.yaml": _text(_namespace()), **{_file(o): _text(o) for o in objects}}
    files["kustomization.yaml"] = _text(_kustomization(sorted(files)))
    return files


def _plain(thing: dict[str, Any]) -> dict[str, Any]:
    """Take out what only Helm needs, from the object and from the pods it makes."""
    for metadata in _metadata(thing):
        for label in _HELM_LABELS:
            metadata.get("labels", {}).pop(label, None)
    return thing


def _metadata(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("metadata"), dict):
            yield node["metadata"]
        for value in node.values():
            yield from _metadata(value)


def _file(thing: dict[str, Any]) -> str:
    stem = thing["metadata"]["name"].replace(f"{NAMESPACE}-", "", 1).replace(f"{NAMESPACE}-", "", 1)
    return f"{stem}-{thing['kind'].lower()}.yaml"


def _namespace() -> dict[str, Any]:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    metadata = {"name": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _kustomization(files: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": files,
        # The image of the runs is JOB_IMAGE in dispatcher-configmap.yaml.
        "images": [{"name": "course-runner-dispatcher", "newTag": "0.1.0"}],
    }


def _text(thing: dict[str, Any]) -> str:
    note = "# Made from helm/ and k8s/values.yaml by scripts/render.py; change those.\n"
    return note + str(yaml.safe_dump(thing, sort_keys=False, width=100, allow_unicode=True))


# --- both -----------------------------------------------------------------------------------------
def wanted() -> dict[Path, str]:
    """Return every file that this script writes, with its text."""
    return {
        CHART / "README.md": readme(),
        **{PLAIN / name: text for name, text in manifests().items()},
    }


def stale() -> list[Path]:
    """Return the files that are missing, different, or no longer made."""
    made = wanted()
    wrong = [p for p, text in made.items() if not p.exists() or p.read_text("utf-8") != text]
    return wrong + [p for p in _made_before() if p not in made]


def _made_before() -> list[Path]:
    return [path for path in sorted(PLAIN.glob("*.yaml")) if path.name != "values.yaml"]


def main() -> int:
    """Write, or check; return the exit code."""
    if "--check" in sys.argv[1:]:
        for path in (wrong := stale()):
            print(f"render: {path.relative_to(ROOT)} is not current; run scripts/render.py")
        return 1 if wrong else 0
    for path in _made_before():
        path.unlink()
    for path, text in wanted().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
