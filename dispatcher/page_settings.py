"""Settings of the operator's page. Here and not in `web`, whose libraries one machine may lack."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from contract.env import Reader, Secret

HOST = "127.0.0.1"
PORT = 8440
SHORTEST = 16
"""Characters of the shortest OPERATOR_TOKEN: shorter ones can be guessed."""


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Where the page is served, and the word that lets operators act."""

    host: str
    port: int
    token: Secret | None

    @property
    def beyond(self) -> bool:
        """Whether others than this machine can reach it."""
        return not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def page_settings(reader: Reader) -> PageSettings:
    """Read them; faults stay in `reader` for its `finish`."""
    found = PageSettings(
        host=reader.text("PAGE_HOST", HOST),
        port=reader.whole("PAGE_PORT", PORT, most=65535),
        token=reader.secret("OPERATOR_TOKEN"),
    )
    if found.token is not None and len(found.token.reveal().strip()) < SHORTEST:
        reader.fault("OPERATOR_TOKEN", f"a random text of at least {SHORTEST} characters")
    if found.beyond and found.token is None:
        reader.fault(
            "OPERATOR_TOKEN",
            f"set where PAGE_HOST={found.host} lets others than this machine in; or leave "
            "PAGE_HOST unset and reach the page through a tunnel or `kubectl port-forward`",
        )
    return found
