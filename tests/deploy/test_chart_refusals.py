"""Wrong values are refused before anything is installed, by a message that names them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.chart import Helm, Refused

pytestmark = pytest.mark.cluster

CA = {"name": "ca", "mountPath": "/ca"}
FROM = [{"secret": "db", "key": "uri", "as": "DATABASE_URL"}]
BY_SCHEMA: list[tuple[Any, str]] = [
    ({"dispatcherr": {}}, "dispatcherr"),
    ({"settings": {"MAX_ACTVE": 3}}, "MAX_ACTVE"),
    ({"settings": {"MAX_ACTIVE": "three"}}, "MAX_ACTIVE"),
    ({"settings": {"MAX_ACTIVE": 0}}, "MAX_ACTIVE"),
    ({"settings": {"KEEP_FAILED": "a week"}}, "KEEP_FAILED"),
    ({"settings": {"RETRY_SCHEDULE": "5min,soon"}}, "RETRY_SCHEDULE"),
    ({"settings": {"VOLUME_SIZE": "20 GB"}}, "VOLUME_SIZE"),
    ({"settings": {"ACCESS_MODE": "RWO"}}, "ACCESS_MODE"),
    ({"settings": {"WEBHOOK_URL": "backend.example/hook"}}, "WEBHOOK_URL"),
    ({"settings": {"DB_TABLE": "tasks; drop table tasks"}}, "DB_TABLE"),
    ({"settings": {"LOG_FORMAT": "xml"}}, "LOG_FORMAT"),
    ({"settings": {"DOWNLOAD_COMMAND": "python main.py"}}, "DOWNLOAD_COMMAND"),
    ({"secrets": {"from": [{"secret": "db", "key": "uri", "as": "DB"}]}}, "as"),
    ({"secrets": {"from": [{"secret": "db", "as": "DATABASE_URL"}]}}, "key"),
    ({"job": {"image": {"digest": "latest"}}}, "digest"),
    ({"job": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}, "nvidia.com/gpu"),
    ({"redis": {"url": "redis.example:6379"}}, "url"),
    ({"redis": {"password": "with@sign"}}, "password"),
    ({"networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1"]}}}, "cidrs"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"fullnameOverride": "x" * 43}, "fullnameOverride"),
    ({"dispatcher": {"extraEnv": [{"value": "x"}]}}, "extraEnv"),
    ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "commonLabels"),
    ({"dispatcher": {"podLabels": {"helm.sh/chart": "x"}}}, "podLabels"),
    ({"job": {"podLabels": {"app.kubernetes.io/instance": "x"}}}, "podLabels"),
    ({"redis": {"server": {"podLabels": {"app.kubernetes.io/component": "x"}}}}, "podLabels"),
]
BY_GUARD: list[tuple[Any, str]] = [
    ({"redis": {"url": "redis://there"}}, "set redis.embedded=false"),
    ({"redis": {"embedded": False}}, "set redis.url or redis.existingSecret"),
    ({"redis": {"existingSecret": "own", "password": "x"}}, "redis.password empty"),
    (
        {"redis": {"embedded": False, "url": "redis://there", "password": "x"}},
        "put your own server's password into redis.url",
    ),
    ({"secrets": {"existingSecret": "own", "PLATFORM_TOKEN": "x"}}, "secrets.existingSecret"),
    ({"secrets": {"from": FROM, "DATABASE_URL": "x"}}, "DATABASE_URL is given twice"),
    ({"secrets": {"from": FROM * 2}}, "DATABASE_URL is given twice"),
    ({"settings": {"WEBHOOK_URL": "https://b.example/"}}, "nothing to sign with"),
    ({"job": {"serviceAccount": {"create": False}}}, "job.serviceAccount.name"),
    ({"dispatcher": {"serviceAccount": {"create": False}}}, "dispatcher.serviceAccount.name"),
    ({"job": {"priorityClassName": "x"}, "priorityClass": {"create": True}}, "keep one of them"),
    ({"resourceQuota": {"enabled": True}}, "resourceQuota.hard"),
    ({"dispatcher": {"extraEnv": [{"name": "QUEUE", "value": "x"}]}}, "may not set QUEUE"),
    ({"dispatcher": {"extraEnv": [{"name": "DB_TABLE", "value": "x"}]}}, "may not set DB_TABLE"),
    ({"dispatcher": {"extraEnv": [{"name": "X"}, {"name": "X"}]}}, "sets X twice"),
    ({"dispatcher": {"extraVolumes": [{"name": "tmp"}]}}, "may not have the name tmp"),
    ({"dispatcher": {"extraVolumes": [{"name": "x"}] * 2}}, "has the name x twice"),
    ({"dispatcher": {"extraVolumeMounts": [CA | {"mountPath": "/tmp/"}]}}, "mountPath /tmp:"),
    ({"dispatcher": {"extraVolumeMounts": [CA] * 2}}, "mountPath /ca twice"),
]


@pytest.mark.parametrize(("values", "word"), BY_SCHEMA)
def test_the_schema_refuses(helm: Helm, values: Any, word: str) -> None:
    """An unknown key or a wrong kind of value never reaches a cluster; the message names it."""
    with pytest.raises(Refused, match="(?s)(don't meet the specifications|schema).*" + word):
        helm.text(values)


@pytest.mark.parametrize(("values", "words"), BY_GUARD)
def test_contradictions_are_refused(helm: Helm, values: Any, words: str) -> None:
    """Values that make no sense together are refused by a message that says what to change."""
    with pytest.raises(Refused, match=words):
        helm.text(values)


def test_helm_3_refuses_the_same(either_helm: Helm) -> None:
    """One of each kind, on both."""
    for values, words in (BY_SCHEMA[0], BY_SCHEMA[-1], BY_GUARD[0]):
        with pytest.raises(Refused, match=words):
            either_helm.text(values)


def test_an_old_cluster_is_refused(either_helm: Helm) -> None:
    """Below 1.29 a Job cannot wait for the end of a lost pod, so the chart says no."""
    with pytest.raises(Refused, match="kubeVersion"):
        either_helm.text(None, "--kube-version", "1.28.0")
