"""The receiver: judges, remembers, answers.

In: POSTs to any path. Out: 200, 400 or 401 with the reason as text, or what the script says; the
list of deliveries. A delivery is remembered before it is answered, so a test that sees the answer
always finds the delivery.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from playground.receiver.script import Answer, Script, ScriptError, parse
from playground.receiver.verify import Secrets, Verdicts, check, signing_key
from playground.wire import Reply, Request, Server
from playground.wire.reply import document, plain


@dataclass(frozen=True)
class Delivery:
    """One POST, as it came, and what became of it."""

    number: int
    at: float
    """Unix seconds."""
    path: str
    headers: dict[str, str]
    body: bytes
    verdicts: Verdicts
    status: int
    """What was answered; 0 = the connection was reset."""

    @property
    def json(self) -> Any:
        """The parsed body; ValueError when it is none."""
        return json.loads(self.body)

    @property
    def genuine(self) -> bool:
        """Whether every proof that was asked for held."""
        return self.verdicts.status == 200

    def as_json(self) -> dict[str, Any]:
        """Plain values; the body as text."""
        text = self.body.decode(errors="replace")
        return asdict(self) | {
            "body": text,
            "genuine": self.genuine,
            "reason": self.verdicts.reason,
        }


class Receiver:
    """A webhook endpoint; answers inside `with` or from start() to stop()."""

    def __init__(
        self,
        *,
        secret: str | None = None,
        signing_key: str | None = None,
        signature_header: str = "X-Signature",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Without a signing key the secret's bytes are the key; without both nothing is checked but
        the fields.
        """
        self._secrets = Secrets(secret, _key(secret, signing_key), signature_header)
        self._script = Script()
        self._changed = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._server = Server(self._answer, host=host, port=port)

    @property
    def base(self) -> str:
        """Where the control API is."""
        return self._server.url

    @property
    def url(self) -> str:
        """Where webhooks go."""
        return f"{self.base}/webhook"

    @property
    def deliveries(self) -> list[Delivery]:
        """Everything that came so far."""
        with self._changed:
            return list(self._deliveries)

    def answer_with(self, *answers: Answer) -> None:
        """Answer the next deliveries like this, whatever they are worth; then judge again."""
        self._script.set(answers)

    def wait(self, count: int = 1, timeout: float = 10.0) -> list[Delivery]:
        """All deliveries, once there are so many; TimeoutError when they do not come in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._deliveries) >= count, timeout):
                raise TimeoutError(
                    f"{len(self._deliveries)} of {count} deliveries came in {timeout} s."
                )
            return list(self._deliveries)

    def clear(self) -> None:
        """Forget deliveries and script."""
        self._script.set(())
        with self._changed:
            self._deliveries.clear()

    def start(self) -> Self:
        """Begin to answer."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End all connections and stop."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answer(self, request: Request) -> Reply:
        if request.path.startswith("/_control/"):
            return self._control(request)
        if request.method != "POST":
            return plain("Webhooks come by POST.", 405)
        return self._receive(request)

    def _receive(self, request: Request) -> Reply:
        now = time.time()
        verdicts = check(request.headers, request.body, self._secrets, now)
        scripted = self._script.take()
        reply = scripted.reply() if scripted else plain(verdicts.reason, verdicts.status)
        with self._changed:
            number = len(self._deliveries) + 1
            status = 0 if reply.dropped else reply.status
            headers = dict(request.headers)
            self._deliveries.append(
                Delivery(number, now, request.path, headers, request.body, verdicts, status)
            )
            self._changed.notify_all()
        return reply

    def _control(self, request: Request) -> Reply:
        doors: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "health"): lambda asked: {"ok": True},
            ("GET", "deliveries"): lambda asked: [one.as_json() for one in self.deliveries],
            ("DELETE", "deliveries"): lambda asked: self.clear(),
            ("POST", "script"): lambda asked: self._script.set(parse(json.loads(asked.body))),
        }
        door = doors.get((request.method, request.path.removeprefix("/_control/")))
        if door is None:
            return document({"detail": "Not found."}, 404)
        try:
            result = door(request)
        except (ScriptError, ValueError, TypeError) as error:
            return document({"detail": str(error)}, 400)
        return document({"ok": True} if result is None else result)


def _key(secret: str | None, key: str | None) -> bytes | None:
    if key is not None:
        return signing_key(key)
    return secret.encode() if secret is not None else None
