"""Settings of the Kubernetes executor: defaults, forms, and faults told by name, all at once."""

from __future__ import annotations

import pytest

from contract.env import Reader
from contract.errors import BadSettings
from dispatcher.executors.kubernetes.settings import KubernetesSettings, Resources, read


def test_one_setting_is_enough() -> None:
    """With an image alone, everything else has its default."""
    reader = Reader({"JOB_IMAGE": "registry.example/job:1"})
    assert read(reader) == KubernetesSettings(image="registry.example/job:1")
    reader.finish()


def test_every_setting_is_read() -> None:
    """Each name ends up in its own field."""
    values = {
        "JOB_IMAGE": "i",
        "NAMESPACE": "courses",
        "INSTANCE": "second.one",
        "VOLUME_SIZE": "5Gi",
        "STORAGE_CLASS": "fast",
        "ACCESS_MODE": "ReadWriteOncePod",
        "JOB_SERVICE_ACCOUNT": "account",
        "JOB_SECRET": "secret",
        "RUN_DEADLINE": "1.5h",
        "JOB_BACKOFF_LIMIT": "0",
        "JOB_CPU_REQUEST": "250m",
        "JOB_CPU_LIMIT": "1.5",
        "JOB_MEMORY_REQUEST": "1Gi",
        "JOB_MEMORY_LIMIT": "2Gi",
        "JOB_TMP_SIZE": "3Gi",
        "IMAGE_PULL_SECRETS": "one, two,",
        "JOB_PRIORITY_CLASS": "low",
        "JOB_NODE_SELECTOR": '{"disk":"large"}',
        "JOB_TOLERATIONS": '[{"key":"spot","operator":"Exists"}]',
        "KUBECONFIG": "/etc/kubeconfig",
    }
    reader = Reader(values)
    found = read(reader)
    reader.finish()
    assert found == KubernetesSettings(
        image="i",
        namespace="courses",
        instance="second.one",
        volume_size="5Gi",
        storage_class="fast",
        access_mode="ReadWriteOncePod",
        service_account="account",
        secret="secret",
        deadline=5400.0,
        backoff_limit=0,
        resources=Resources("250m", "1Gi", "1.5", "2Gi"),
        tmp_size="3Gi",
        image_pull_secrets=("one", "two"),
        priority_class="low",
        node_selector={"disk": "large"},
        tolerations=({"key": "spot", "operator": "Exists"},),
        kubeconfig="/etc/kubeconfig",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NAMESPACE", "Not_A_Namespace"),
        ("INSTANCE", "-dash"),
        ("VOLUME_SIZE", "large"),
        ("ACCESS_MODE", "ReadOnlyMany"),
        ("RUN_DEADLINE", "0"),
        ("RUN_DEADLINE", "soon"),
        ("JOB_CPU_REQUEST", "two"),
        ("JOB_CPU_LIMIT", "1.5m"),
        ("JOB_MEMORY_LIMIT", "-1"),
        ("JOB_BACKOFF_LIMIT", "-1"),
        ("JOB_NODE_SELECTOR", "disk=large"),
        ("JOB_NODE_SELECTOR", '{"disk":1}'),
        ("JOB_TOLERATIONS", '{"key":"spot"}'),
    ],
)
def test_a_fault_names_its_setting(name: str, value: str) -> None:
    """A value that cannot be meant is a fault that names the setting, and only that one."""
    reader = Reader({"JOB_IMAGE": "i", name: value})
    read(reader)
    with pytest.raises(BadSettings) as caught:
        reader.finish()
    assert [name in fault for fault in caught.value.faults] == [True]


def test_all_faults_come_at_once() -> None:
    """A missing image and three faulty values are four faults."""
    reader = Reader({"VOLUME_SIZE": "x", "ACCESS_MODE": "x", "JOB_TOLERATIONS": "x"})
    read(reader)
    with pytest.raises(BadSettings) as caught:
        reader.finish()
    assert len(caught.value.faults) == 4
