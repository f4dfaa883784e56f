"""promtool, which checks metrics and rules; `scripts/promtool.sh` brings it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.services import absent

HERE = Path.home() / ".cache" / "course-runner" / "promtool"


def promtool() -> str:
    """Path of promtool; absent is a loud skip, and a failure in CI."""
    return shutil.which("promtool") or (str(HERE) if HERE.is_file() else absent("promtool"))
