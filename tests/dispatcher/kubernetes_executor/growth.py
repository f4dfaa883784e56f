"""The story of a full volume whose dispatcher dies while it asks for a larger one.

Between the two dispatchers the storage does its work, as a driver would that can grow volumes:
the claim's status says the size that was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from contract import names
from contract.task import quantity_bytes
from tests.dispatcher.kubernetes_executor.namespaces import apply, kubectl
from tests.dispatcher.kubernetes_executor.stories import Story
from tests.dispatcher.tasks import order

GROWING = ("grow:marked", "grow:asked")
_FULL = {"1": [["exit", 73, "volume_full"]]}


@dataclass(frozen=True)
class Grown:
    """What was seen at the end; `asked` in bytes."""

    asked: int
    status: str
    runs: int
    failures: dict[str, int]


@contextmanager
def growing_class(name: str) -> Iterator[None]:
    """The cluster's own storage class, with leave to grow."""
    made = json.loads(kubectl("get", "storageclass", "local-path", "-o", "json"))
    made = {key: value for key, value in made.items() if key not in ("metadata", "status")}
    apply({**made, "metadata": {"name": name}, "allowVolumeExpansion": True})
    try:
        yield
    finally:
        kubectl("delete", "storageclass", name)


def grow(story: Story, storage_class: str) -> Grown:
    """A full volume, a death at the story's point, the storage's work, a successor."""
    name = names.object_name(story.tasks["a"])
    story.redis.lpush(story.queue, order(story.tasks["a"], script=_FULL))
    settings = {"STORAGE_CLASS": storage_class, "KEEP_COMPLETED": "1h"}
    with story.dispatcher(**settings, **story.deadly) as process:
        story.die(process)
    asked = _claim(story, name)["spec"]["resources"]["requests"]["storage"]
    says = json.dumps({"status": {"capacity": {"storage": asked}}})
    words = ("--subresource=status", "--type=merge", "-p", says)
    kubectl("patch", "pvc", name, "-n", story.space, *words)
    with story.dispatcher(**settings):
        story.until(lambda: story.is_over(["a"]), "the order ends")
    claim = _claim(story, name)
    return Grown(
        quantity_bytes(claim["spec"]["resources"]["requests"]["storage"]),
        story.status("a"),
        story.runs_made()["a"],
        json.loads(claim["metadata"]["annotations"][names.FAILURES]),
    )


def _claim(story: Story, name: str) -> dict[str, Any]:
    found: dict[str, Any]
    found = json.loads(kubectl("get", "pvc", name, "-n", story.space, "-o", "json"))
    return found
