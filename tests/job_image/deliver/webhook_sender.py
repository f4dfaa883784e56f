"""A sender of webhooks with its keys, and the event it announces."""

from __future__ import annotations

from contract.webhook import Event
from tests.job_image.deliver.run import Run, Runs

SECRET, KEY = "api-secret-2f81", "whsec_" + "c2lnbmluZy1rZXktb2YtMjQtYnl0ZXM="
EVENT = Event(999, "test-course", 1768233600)


def sender(runs: Runs, url: str, **settings: str) -> Run:
    """A run that announces to `url` in three quick tries."""
    usual = {
        "API_SECRET_KEY": SECRET,
        "WEBHOOK_SIGNING_KEY": KEY,
        "WEBHOOK_TRIES": "0,10ms,10ms",
    }
    return runs(WEBHOOK_URL=url, **{**usual, **settings})
