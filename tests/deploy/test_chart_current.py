"""What is made from the chart is current: reference, plain manifests, the runbook's anchors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.record import DONE
from dispatcher.tally import CATEGORIES, OTHER
from tests.deploy.chart import ROOT, STEM, Helm
from tests.deploy.test_chart_switches import EVERYTHING, MONITORING

pytestmark = pytest.mark.cluster


def test_readme_and_plain_manifests_are_current(helm: Helm) -> None:
    """`scripts/render.py --check` has nothing to say; after a change of the chart, run it."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "render.py"), "--check"],
        env={**os.environ, "HELM": str(helm.program)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.stdout, ended.returncode) == ("", 0), ended.stderr


def test_every_alert_leads_to_a_chapter(helm: Helm) -> None:
    """Each alert's runbook address ends in an anchor that docs/operations.md has."""
    rule = helm.objects(EVERYTHING, *MONITORING)["PrometheusRule", STEM]
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]
    known = _anchors(ROOT / "docs" / "operations.md")
    assert len(alerts) > 5
    for alert in alerts:
        file, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert file == "docs/operations.md"
        assert anchor in known, alert["alert"]


def test_every_verdict_has_a_chapter() -> None:
    """Each category that an outcome can have is a heading of docs/operations.md."""
    known = _anchors(ROOT / "docs" / "operations.md")
    wanted = {DONE, *CATEGORIES} - {OTHER}
    assert not wanted - known


def _anchors(file: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in headings}
