"""The questions of quizzes, practice tests and coding exercises, asked from the platform.

Goes in: a quiz's id. Comes out: its assessments, as the platform gives them. A quiz becomes two
files, a page and the raw data; whoever comes first asks, the second finds the answer here.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any
from urllib.parse import quote

from contract.errors import NotEntitled, Temporary
from job_image.sources.api import Api
from job_image.stop import Stop

_FIELDS = {
    "fields[assessment]": "id,assessment_type,prompt,correct_response,section,question_plain,"
    "related_lectures",
}


class Sheets:
    """The quizzes of a course. Thread-safe."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()
        self._held: dict[str, list[Any]] = {}

    def get(self, quiz: str, stop: Stop) -> list[Any]:
        """Return the assessments of a quiz. Raise `Temporary` when it cannot be had."""
        with self._guard:
            lock = self._locks[quiz]
        with lock:
            if quiz in self._held:
                return self._held.pop(quiz)
            self._held[quiz] = found = self._ask(quiz, stop)
            return found

    def _ask(self, quiz: str, stop: Stop) -> list[Any]:
        path = f"/quizzes/{quote(quiz, safe='')}/assessments/"
        try:
            return self._api.everything(path, _FIELDS, f"quiz {quiz}", stop)
        except NotEntitled as exc:
            raise Temporary(f"The quiz cannot be had: {exc.summary}") from exc
