"""How the command line reaches the queue and the executor: by the settings, or what is here.

Heavy modules are imported when they are needed: a command that speaks to Redis alone starts without
what speaks to a cluster.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from contract import names
from contract.env import Reader, Secret
from contract.errors import BadSettings
from dispatcher.executors.kubernetes.settings import LOOK_ONLY

URL_FILE = "redis.url"


def with_redis(options: argparse.Namespace, values: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with REDIS_URL: the given one, or that of `course-runner local`."""
    if values.get("REDIS_URL"):
        return dict(values)
    file = Path(options.state) / URL_FILE
    if not file.exists():
        raise BadSettings(
            [f"REDIS_URL is not set, and {file.parent} is no state of `course-runner local`."]
        )
    return {**values, "REDIS_URL": file.read_text(encoding="utf-8").strip()}


def store(options: argparse.Namespace, values: Mapping[str, str]) -> Any:
    """Return the store of the queue that the settings name."""
    known = with_redis(options, values)
    module = import_module("dispatcher.store")
    queue = Reader(known).text("QUEUE", names.DEFAULT_QUEUE)
    return module.Store(module.connect(Secret(known["REDIS_URL"])), queue, "command-line")


def settings(options: argparse.Namespace, values: Mapping[str, str]) -> Any:
    """Return all settings of a dispatcher that would run here; it starts no run, so no image."""
    service = import_module("dispatcher.service")
    return service.settings_from(to_look(options, values), executor=executor_name(options))


def to_look(options: argparse.Namespace, values: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a command that starts no run."""
    return {"JOB_IMAGE": LOOK_ONLY, **with_redis(options, values)}


def executor(options: argparse.Namespace, values: Mapping[str, str]) -> Any:
    """Return the executor that the settings name, not started."""
    service = import_module("dispatcher.service")
    return service.executor_from(settings(options, values))


def executor_name(options: argparse.Namespace) -> str:
    """One machine when its state folder is here, a cluster otherwise; EXECUTOR overrides."""
    return "local" if Path(options.state).is_dir() else "kubernetes"
