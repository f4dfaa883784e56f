"""What a closing run passes its failure on to: a row in PostgreSQL, a receiver of events.

Both are servers of this machine that pods reach. Ordinary runs do what their order's script says;
a closing run is the product's own program, from the product's own image.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from playground.receiver import Delivery, Receiver
from tests.cluster import cluster
from tests.dispatcher.executors.bench import PROGRAM_TEXT
from tests.dispatcher.kubernetes_executor.namespaces import apply
from tests.e2e.world import reachable

SECRET = "outside"
API_SECRET = "deaths-body-secret"
_REPORT = """
import os, sys
if sys.argv[-1] == "report":
    os.execv(sys.executable, [sys.executable, "-m", "job_image", "report"])
"""
COMMAND = ("python", "-c", _REPORT + PROGRAM_TEXT)
ROWS = sa.Table(
    "deaths",
    sa.MetaData(),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text),
    sa.Column("error", sa.Text),
)


@dataclass(frozen=True)
class Outside:
    """The backend's side of the orders of one namespace."""

    engine: sa.Engine
    receiver: Receiver

    def add_row(self, task: str, status: str = "running") -> None:
        """The backend's row of an order."""
        with self.engine.begin() as connection:
            connection.execute(ROWS.insert().values(id=task, status=status))

    def row(self, task: str) -> tuple[str, str]:
        """Status and error of an order's row."""
        with self.engine.connect() as connection:
            query = sa.select(ROWS.c.status, ROWS.c.error).where(ROWS.c.id == task)
            status, error = connection.execute(query).one()
        return status, error or ""

    def events(self, task: str) -> list[dict[str, Any]]:
        """The bodies of what came about an order; each must be genuine."""
        return [delivery.json for delivery in self._deliveries(task)]

    def told(self, task: str) -> dict[str, int]:
        """How many events there were about an order, by what they tell; a repeat has its id."""
        ids = {(d.json.get("status", "completed"), _id(d)) for d in self._deliveries(task)}
        return dict(Counter(status for status, _ in ids))

    def _deliveries(self, task: str) -> list[Delivery]:
        found = [d for d in self.receiver.deliveries if d.json.get("task_id") == task]
        assert all(delivery.genuine for delivery in found)
        return found


@contextmanager
def outside(database_url: str, space: str) -> Iterator[Outside]:
    """Row and receiver for orders of a namespace, whose runs find them in the Secret `SECRET`."""
    address, bind = cluster.host_address(), cluster.bind_address()
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    ROWS.create(engine)
    with (
        reachable(database_url, bind, address) as seen_by_pods,
        Receiver(secret=API_SECRET, host=bind) as receiver,
    ):
        _give(
            space,
            PLATFORM_TOKEN="unused",
            DATABASE_URL=seen_by_pods,
            DB_TABLE=ROWS.name,
            DB_ERROR_COLUMN="error",
            WEBHOOK_URL=receiver.url,
            WEBHOOK_FAILURE_EVENTS="true",
            API_SECRET_KEY=API_SECRET,
        )
        yield Outside(engine, receiver)
    ROWS.drop(engine)


def _give(space: str, **settings: str) -> None:
    data = {name: base64.b64encode(text.encode()).decode() for name, text in settings.items()}
    meta = {"name": SECRET, "namespace": space}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


def _id(delivery: Delivery) -> str:
    return next(text for name, text in delivery.headers.items() if name.lower() == "webhook-id")
