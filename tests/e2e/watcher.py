"""How many Jobs were at work at one time, from every event the API server told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from contract import names
from tests.e2e.kube import Kube


@contextmanager
def most_at_once(kube: Kube, instance: str) -> Iterator[Callable[[], int]]:
    """Watch while inside; the function tells the highest number so far."""
    selector = f"--selector={names.LABEL_INSTANCE}={instance}"
    watch = kube.popen("get", "jobs", selector, "--watch", "--output-watch-events", "-o", "json")
    seen: list[int] = [0]
    assert watch.stdout is not None
    thread = threading.Thread(target=_count, args=(watch.stdout, seen), daemon=True)
    thread.start()
    try:
        yield lambda: max(seen)
    finally:
        watch.terminate()
        watch.wait(10)
        thread.join(10)


def _count(stream: IO[str], seen: list[int]) -> None:
    active: set[str] = set()
    decoder, text = json.JSONDecoder(), ""
    for line in stream:
        text += line
        while text.strip():
            try:
                event, end = decoder.raw_decode(text.lstrip())
            except ValueError:
                break
            text = text.lstrip()[end:]
            _note(event, active)
            seen.append(len(active))


def _note(event: dict[str, Any], active: set[str]) -> None:
    job = event["object"]
    conditions = job.get("status", {}).get("conditions", [])
    ended = any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
    if ended or event["type"] == "DELETED":
        active.discard(job["metadata"]["name"])
    else:
        active.add(job["metadata"]["name"])
