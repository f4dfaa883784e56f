"""The API against its own document, by schemathesis: thousands of ways to ask, none surprises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.dispatcher.town import Town
from tests.dispatcher.web.page_process import TOKEN, Page

PROGRAM = Path(sys.executable).with_name("schemathesis")
LIMIT = 280.0

NOT_ASKED = "positive_data_acceptance"
"""An order that the document's schema allows may still be none: what makes a course's address is
said in docs/message.schema.json, whose own test holds it against the code."""


def test_whatever_is_asked_the_answer_is_one_that_the_document_promises(
    town: Town, page: Page, tmp_path: Path
) -> None:
    """With the token: status, type, shape, allowed methods, refusals, and acts without it."""
    ended = subprocess.run(
        [
            *(PROGRAM, "run", f"{page.url}/api/v1/openapi.json", "--no-color"),
            *("--header", f"Authorization: Bearer {TOKEN}", "--exclude-checks", NOT_ASKED),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "10"),
            *("--seed", "1", "--warnings", "off", "--request-timeout", "60"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "19 selected / 19 total" in ended.stdout
