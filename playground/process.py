"""Running as a process: say where, wait for a signal, stop cleanly.

In: something with start() and stop(), and its addresses. Out: a ready file, written at once as a
whole when the addresses answer, and an exit after SIGTERM or SIGINT.
"""

import json
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Protocol


class Service(Protocol):
    """Something that listens from construction and answers from start() to stop()."""

    def start(self) -> object:
        """Begin to answer."""

    def stop(self) -> None:
        """End all connections and stop."""


def run(service: Service, addresses: Mapping[str, str], ready_file: Path | None) -> None:
    """Answer until a signal comes."""
    told = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    service.start()
    announce(addresses, ready_file)
    told.wait()
    service.stop()


def announce(addresses: Mapping[str, str], ready_file: Path | None) -> None:
    """Print the addresses, and write them to the ready file if there is one."""
    for name, address in addresses.items():
        print(f"{name}: {address}", flush=True)
    if ready_file:
        waiting = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        waiting.write_text(json.dumps({**addresses, "pid": os.getpid()}))
        waiting.replace(ready_file)
