"""The objects of a task, compared whole: nothing in them is there by accident."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors.kubernetes.manifests import claim, job, selector
from dispatcher.executors.kubernetes.settings import KubernetesSettings, Resources

TASK = Task(999, "https://www.udemy.com/course/test-course/", email="test@example.com")
MESSAGE = (
    '{"taskId":999,"courseUrl":"https://www.udemy.com/course/test-course/",'
    '"email":"test@example.com"}'
)
PLAIN = KubernetesSettings(image="registry.example/job:1", namespace="courses")
RICH = replace(
    PLAIN,
    instance="second",
    volume_size="50Gi",
    storage_class="fast",
    access_mode="ReadWriteOncePod",
    service_account="other",
    secret="job-settings",
    deadline=3600.0,
    backoff_limit=0,
    resources=Resources("1", "2Gi", "", ""),
    tmp_size="2Gi",
    image_pull_secrets=("one", "two"),
    priority_class="low",
    node_selector={"disk": "large"},
    tolerations=({"key": "spot", "operator": "Exists"},),
)


def labels(component: str, instance: str = "course-runner") -> dict[str, str]:
    """The labels of everything that belongs to task 999."""
    return {
        "app.kubernetes.io/name": "course-runner",
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "course-runner",
        "app.kubernetes.io/managed-by": "course-runner",
        "course-runner/task": "999",
    }


def test_a_claim_is_the_record_of_its_task() -> None:
    """The claim carries the message and attempt one; class and size are left to the cluster."""
    assert claim(TASK, PLAIN) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "course-999",
            "namespace": "courses",
            "labels": labels("volume"),
            "annotations": {"course-runner/message": MESSAGE, "course-runner/attempt": "1"},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "20Gi"}},
        },
    }


def test_a_claim_is_made_as_the_settings_say() -> None:
    """Class, mode and size come from the settings."""
    assert claim(TASK, RICH)["spec"] == {
        "accessModes": ["ReadWriteOncePod"],
        "resources": {"requests": {"storage": "50Gi"}},
        "storageClassName": "fast",
    }


def test_an_order_may_ask_for_its_own_size() -> None:
    """The order's size wins over the settings'."""
    asked = claim(replace(TASK, volume_size="5Gi"), RICH)
    assert asked["spec"]["resources"] == {"requests": {"storage": "5Gi"}}


def lost(state: str) -> dict[str, Any]:
    """The toleration for a node that is lost."""
    return {
        "key": f"node.kubernetes.io/{state}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 60,
    }


def test_a_job_with_plain_settings() -> None:
    """The whole Job of an ordinary run."""
    environment = {"MAX_RETRIES": "5", "API_SECRET_KEY": "s3cret", "DOWNLOAD_COMMAND": "x $HOME"}
    assert job(Assignment(TASK, 2), PLAIN, environment) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "course-999",
            "namespace": "courses",
            "labels": labels("job"),
            "annotations": {"course-runner/attempt": "2"},
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 3,
            "activeDeadlineSeconds": 86400,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "job",
                            "operator": "In",
                            "values": [64, 65, 66, 67, 70, 73, 75, 76, 143],
                        },
                    },
                ]
            },
            "template": {
                "metadata": {"labels": {**labels("job"), "course-runner/api": "true"}},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "course-runner-job",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "fsGroup": 65532,
                        "fsGroupChangePolicy": "OnRootMismatch",
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "tolerations": [lost("not-ready"), lost("unreachable")],
                    "containers": [
                        {
                            "name": "job",
                            "image": "registry.example/job:1",
                            "imagePullPolicy": "IfNotPresent",
                            "env": [
                                {"name": "ATTEMPT", "value": "2"},
                                {"name": "CLAIM", "value": "course-999"},
                                {"name": "DOWNLOAD_COMMAND", "value": "x $$HOME"},
                                {"name": "HOME", "value": "/tmp"},
                                {"name": "MAX_RETRIES", "value": "5"},
                                {"name": "NAMESPACE", "value": "courses"},
                                {"name": "RELEASE", "value": "kubernetes"},
                                {"name": "SANDBOX", "value": "/sandbox"},
                                {"name": "TASK", "value": MESSAGE},
                                {"name": "TERMINATION_LOG", "value": "/dev/termination-log"},
                            ],
                            "resources": {
                                "requests": {"cpu": "100m", "memory": "256Mi"},
                                "limits": {"memory": "1Gi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "readOnlyRootFilesystem": True,
                            },
                            "terminationMessagePath": "/dev/termination-log",
                            "volumeMounts": [
                                {"name": "sandbox", "mountPath": "/sandbox"},
                                {"name": "tmp", "mountPath": "/tmp"},
                                {
                                    "name": "token",
                                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                                    "readOnly": True,
                                },
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "sandbox", "persistentVolumeClaim": {"claimName": "course-999"}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                        {
                            "name": "token",
                            "projected": {
                                "defaultMode": 0o440,
                                "sources": [
                                    {
                                        "serviceAccountToken": {
                                            "path": "token",
                                            "expirationSeconds": 3600,
                                        }
                                    },
                                    {
                                        "configMap": {
                                            "name": "kube-root-ca.crt",
                                            "items": [{"key": "ca.crt", "path": "ca.crt"}],
                                        }
                                    },
                                    {
                                        "downwardAPI": {
                                            "items": [
                                                {
                                                    "path": "namespace",
                                                    "fieldRef": {"fieldPath": "metadata.namespace"},
                                                }
                                            ]
                                        }
                                    },
                                ],
                            },
                        },
                    ],
                },
            },
        },
    }


def test_a_closing_run_differs_only_in_what_it_must() -> None:
    """A closing run has its argument, its report, its mark, and no token: it releases nothing."""
    ordinary = job(Assignment(TASK, 2), PLAIN, {})
    closing = job(Assignment(TASK, 2, report='{"category":"crashed"}'), PLAIN, {})
    ordinary["metadata"]["annotations"]["course-runner/closing"] = "true"
    pod = ordinary["spec"]["template"]["spec"]
    container = pod["containers"][0]
    container["args"] = ["report"]
    report = {"name": "REPORT", "value": '{"category":"crashed"}'}
    container["env"] = sorted([*container["env"], report], key=lambda each: str(each["name"]))
    del ordinary["spec"]["template"]["metadata"]["labels"]["course-runner/api"]
    assert pod["volumes"].pop()["name"] == "token"
    assert container["volumeMounts"].pop()["name"] == "token"
    assert closing == ordinary


def test_a_job_with_rich_settings_differs_only_in_what_they_say() -> None:
    """Each setting changes its own place and no other."""
    plain = job(Assignment(TASK, 1), PLAIN, {})
    plain["metadata"]["labels"] = labels("job", "second")
    spec = plain["spec"]
    spec |= {"backoffLimit": 0, "activeDeadlineSeconds": 3600}
    spec["template"]["metadata"]["labels"] |= labels("job", "second")
    pod = spec["template"]["spec"]
    pod |= {
        "serviceAccountName": "other",
        "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
        "priorityClassName": "low",
        "nodeSelector": {"disk": "large"},
    }
    pod["tolerations"].append({"key": "spot", "operator": "Exists"})
    pod["volumes"][1]["emptyDir"]["sizeLimit"] = "2Gi"
    secret = {"secretName": "job-settings", "defaultMode": 0o440}
    pod["volumes"].insert(2, {"name": "settings", "secret": secret})
    container = pod["containers"][0]
    container["resources"] = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {}}
    mount = {"name": "settings", "mountPath": "/etc/course-runner", "readOnly": True}
    container["volumeMounts"].insert(2, mount)
    folder = {"name": "SETTINGS_DIR", "value": "/etc/course-runner"}
    container["env"] = sorted([*container["env"], folder], key=lambda each: str(each["name"]))
    assert job(Assignment(TASK, 1), RICH, {}) == plain


def test_no_secret_ever_stands_in_a_manifest() -> None:
    """The dispatcher's own secrets stay out of the Job, whatever else is passed on."""
    secrets = {
        "API_SECRET_KEY": "s3cret-a",
        "WEBHOOK_SIGNING_KEY": "s3cret-b",
        "DATABASE_URL": "s3cret-c",
        "PLATFORM_TOKEN": "s3cret-d",
        "PROGRESS_REDIS_URL": "s3cret-e",
        "REDIS_URL": "s3cret-f",
    }
    text = str(job(Assignment(TASK, 1), RICH, secrets | {"DB_TABLE": "tasks"}))
    assert "s3cret" not in text
    assert "'tasks'" in text


def test_the_selector_finds_what_the_labels_say() -> None:
    """The watch's selector and the labels of both objects agree."""
    wanted = dict(each.split("=") for each in selector(RICH).split(","))
    for made in (claim(TASK, RICH), job(Assignment(TASK, 1), RICH, {})):
        assert wanted.items() <= made["metadata"]["labels"].items()
    assert not wanted.items() <= claim(TASK, PLAIN)["metadata"]["labels"].items()
