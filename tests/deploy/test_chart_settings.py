"""The chart's settings are the programs' settings: the same names, the same defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from contract import handoff
from contract.env import Reader
from contract.job_settings import read as read_job
from dispatcher.executors.kubernetes import settings as kubernetes
from dispatcher.settings import read
from tests.deploy.chart import CHART, NAMESPACE, RELEASE, STEM, Helm, environment

pytestmark = pytest.mark.cluster

VALUES: Any = yaml.safe_load((CHART / "values.yaml").read_text())
DERIVED = {
    *("EXECUTOR", "HEALTH_PORT", "INSTANCE", "NAMESPACE", "JOB_IMAGE", "JOB_SERVICE_ACCOUNT"),
    *("JOB_SECRET", "JOB_SECRETS", "JOB_CPU_REQUEST", "JOB_MEMORY_REQUEST", "JOB_CPU_LIMIT"),
    *("JOB_MEMORY_LIMIT", "IMAGE_PULL_SECRETS", "JOB_PRIORITY_CLASS", "JOB_NODE_SELECTOR"),
    *("JOB_TOLERATIONS", "JOB_POD"),
}
"""Made by the chart from other values."""
NOT_HERE = {"REDIS_URL", "DISPATCHER_ID", "STAGING_DIR", "HEALTH_HOST", "KUBECONFIG"}
"""A secret, the pod's own name, one machine's, and what a pod has by itself."""


REDIS = {"REDIS_URL": "redis://redis"}
"""What a dispatcher's pod gets from a Secret."""


class Recorder(Mapping[str, str]):
    """An environment with nothing in it that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_every_setting_of_the_programs_is_a_value() -> None:
    """What the dispatcher reads, and what it passes on to runs, is in `settings`, and no more.

    A new setting fails this test: add it to helm/values.yaml with a comment and to the schema.
    """
    asked = Recorder()
    reader = Reader(asked)
    read(reader, asked)
    kubernetes.read(reader)
    known = (asked.asked | set(handoff.PLAIN_SETTINGS)) - DERIVED - NOT_HERE
    assert set(VALUES["settings"]) == known


def test_every_secret_of_a_run_is_a_value() -> None:
    """The secrets of the hand-off, and the two files, can be given by text and by reference."""
    files = {"PLATFORM_TOKENS_FILE", "RCLONE_CONFIG"}
    wanted = set(handoff.SECRET_SETTINGS) - {"PROGRESS_REDIS_URL"} | files
    assert set(VALUES["secrets"]) - {"existingSecret", "from"} == wanted


def test_the_defaults_are_the_programs_own(helm: Helm) -> None:
    """A dispatcher with the chart's plain settings decides as one without any."""
    plain = environment(helm.objects())
    reader, bare = Reader({**plain, **REDIS}), Reader({"JOB_IMAGE": "x", **REDIS})
    assert read(reader, plain).limits == read(bare, {}).limits
    mine, usual = kubernetes.read(reader), kubernetes.read(bare)
    reader.finish()
    assert replace(mine, secrets=()) == replace(
        usual,
        image="course-runner-job:0.1.0",
        namespace=NAMESPACE,
        instance=RELEASE,
        service_account=f"{STEM}-job",
    )


def test_everything_that_can_be_set_reaches_the_programs(helm: Helm) -> None:
    """Numbers stay whole, lists and objects arrive as the executor reads them."""
    values = {
        "settings": {"MAX_ACTIVE": 1000000, "WEBHOOK_BODY_SECRET": False, "REMEMBER": "30d"},
        "image": {"registry": "registry.example:5000/team", "pullSecrets": ["a", "b"]},
        "job": {
            "image": {"digest": f"sha256:{'a' * 64}"},
            "resources": {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"cpu": 0.5}},
            "nodeSelector": {"disk": "large"},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "podLabels": {"team": "video"},
        },
        "secrets": {"from": [{"secret": "db", "key": "uri", "as": "DATABASE_URL"}]},
    }
    plain = environment(helm.objects(values))
    reader = Reader({**plain, **REDIS})
    limits, job = read(reader, plain).limits, kubernetes.read(reader)
    reader.finish()
    assert (limits.max_active, limits.remember) == (1000000, 30 * 86400)
    assert plain["WEBHOOK_BODY_SECRET"] == "false"
    assert job.image == f"registry.example:5000/team/course-runner-job@sha256:{'a' * 64}"
    assert job.image_pull_secrets == ("a", "b")
    assert (job.resources.cpu_request, job.resources.cpu_limit) == ("2", "0.5")
    assert (job.resources.memory_request, job.resources.memory_limit) == ("1Gi", "1Gi")
    assert job.node_selector == {"disk": "large"}
    assert job.tolerations == ({"key": "spot", "operator": "Exists"},)
    assert job.pod["affinity"] == {"nodeAffinity": {}}
    assert job.pod["env"] == [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    assert job.pod["labels"] == {"team": "video"}
    progress, database = job.secrets
    assert (progress.name, dict(progress.items)) == (
        f"{STEM}-progress",
        {"PROGRESS_REDIS_URL": "PROGRESS_REDIS_URL"},
    )
    assert (database.name, dict(database.items)) == ("db", {"uri": "DATABASE_URL"})


def test_a_run_reads_what_the_dispatcher_passes_on(helm: Helm) -> None:
    """The plain settings with the files that the chart mounts are whole settings of a run."""
    secrets = {"PLATFORM_TOKENS_FILE": "default: t", "RCLONE_CONFIG": "[r]", "API_SECRET_KEY": "k"}
    values = {"secrets": secrets, "settings": {"WEBHOOK_URL": "https://backend.example/hook"}}
    plain = environment(helm.objects(values))
    assert plain["RCLONE_CONFIG"] == f"{handoff.SETTINGS_PATH}/rclone.conf"
    assert plain["PLATFORM_TOKENS_FILE"] == f"{handoff.SETTINGS_PATH}/tokens.yaml"
    passed_on = {name: plain[name] for name in handoff.PLAIN_SETTINGS if name in plain}
    run = read_job({**passed_on, "TASK": "{}", "API_SECRET_KEY": "k"})
    assert run.webhook.url == "https://backend.example/hook"
    assert str(run.upload.config) == plain["RCLONE_CONFIG"]
