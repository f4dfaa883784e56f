"""values.yaml, its schema and the templates speak of the same things."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import CHART, Helm, Object

pytestmark = pytest.mark.cluster

VALUES: Object = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text())

OUTSIDE: Object = {"redis": {"embedded": False, "url": "redis://there:6379/0"}}
SECRET_OUTSIDE: Object = {"redis": {"embedded": False, "existingSecret": "own"}}
"""Some values matter only beside others: by the begin of a path, what to add on both sides."""
BESIDE: dict[str, Object] = {
    "redis.url": OUTSIDE,
    "redis.progressUrl": OUTSIDE,
    "redis.existingSecretKey": SECRET_OUTSIDE,
    "redis.existingSecretProgressKey": SECRET_OUTSIDE,
    "redis.embedded": {"redis": {"existingSecret": "own"}},
    "dispatcher.podDisruptionBudget": {"dispatcher": {"replicas": 2}},
    "dispatcher.serviceAccount.create": {"dispatcher": {"serviceAccount": {"name": "x"}}},
    "job.serviceAccount.create": {"job": {"serviceAccount": {"name": "x"}}},
    "settings.WEBHOOK_URL": {"secrets": {"existingSecret": "own"}},
    "priorityClass.value": {"priorityClass": {"create": True}},
    "priorityClass.preemptionPolicy": {"priorityClass": {"create": True}},
    "flowSchema.p": {"flowSchema": {"enabled": True}},
    "resourceQuota.enabled": {"resourceQuota": {"hard": {"pods": 1}}},
    "resourceQuota.hard": {"resourceQuota": {"enabled": True, "hard": {"pods": 1}}},
    "monitoring.podMonitor.enabled": {},
    "monitoring.podMonitor.": {"monitoring": {"podMonitor": {"enabled": True}}},
    "monitoring.prometheusRule.enabled": {},
    "monitoring.prometheusRule.": {"monitoring": {"prometheusRule": {"enabled": True}}},
    "monitoring.dashboard.labels": {"monitoring": {"dashboard": {"enabled": True}}},
}
ANOTHER: dict[str, Any] = {
    "redis.url": "redis://elsewhere:6379/0",
    "redis.progressUrl": "redis://elsewhere:6379/0",
    "redis.server.appendfsync": "everysec",
    "redis.server.persistence.size": "7Gi",
    "image.pullPolicy": "Always",
    "settings.ACCESS_MODE": "ReadWriteOncePod",
    "settings.LOG_FORMAT": "json",
    "settings.VOLUME_SIZE": "7Gi",
    "settings.VOLUME_SIZE_LIMIT": "7Gi",
    "settings.JOB_TMP_SIZE": "7Gi",
    "settings.PLATFORM_URL": "https://platform.example",
    "settings.WEBHOOK_URL": "https://backend.example/hook",
    "settings.DOWNLOAD_COMMAND": "get {url} {dir}",
    "settings.RCLONE_REMOTE": "other:Courses",
    "settings.WEBHOOK_BODY_SECRET": False,
    "settings.WEBHOOK_FAILURE_EVENTS": True,
    "settings.DOWNLOAD_CONCURRENCY": 7,
    "settings.ON_ITEM_FAILURE": "skip",
    "settings.CONTINUE_LECTURE_NUMBERS": True,
    "settings.ID_AS_COURSE_NAME": True,
    "settings.MAX_RETRIES": 7,
    **{f"settings.DB_{name}": "other" for name in ("TABLE", "SCHEMA")},
    **{f"settings.DB_{name}_COLUMN": "other" for name in ("ID", "STATUS", "ERROR", "TIME")},
    "priorityClass.preemptionPolicy": "PreemptLowerPriority",
    "monitoring.podMonitor.interval": "7s",
    "test.volumeSize": "7Gi",
    "networkPolicy.apiServer.cidrs": ["192.0.2.1/32"],
    "networkPolicy.public.exceptIPv6": ["fd00::/8"],
    "networkPolicy.public.except": ["192.0.2.0/24"],
    "networkPolicy.dnsPorts": [5353],
    "networkPolicy.public.ports": [8443],
    "networkPolicy.apiServer.ports": [8443],
    "secrets.from": [{"secret": "db", "key": "uri", "as": "DATABASE_URL"}],
    "image.pullSecrets": ["regcred"],
    "redis.server.command": ["redis-server"],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}],
}
OF_A_KIND: dict[str, Any] = {
    "digest": f"sha256:{'0' * 64}",
    "resources": {"requests": {"cpu": "7m", "memory": "7Mi"}},
    "podSecurityContext": {"runAsUser": 7},
    "hard": {"pods": "7"},
    "extraEnv": [{"name": "X", "value": "7"}],
}


def leaves(node: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of the values that have no fixed keys below them."""
    for key, value in node.items():
        whole = key in OF_A_KIND or not isinstance(value, dict) or not value
        yield from [(*path, key)] if whole else leaves(value, (*path, key))


LEAVES = [".".join(path) for path in leaves(VALUES)]


def _with(values: Object, path: str, value: Any) -> Object:
    changed = copy.deepcopy(values)
    node = changed
    *groups, last = path.split(".")
    for group in groups:
        node = node.setdefault(group, {})
    node[last] = value
    return changed


def _another(path: str) -> Any:
    last = path.rpartition(".")[2]
    now = VALUES
    for key in path.split("."):
        now = now[key]
    if path in ANOTHER or last in OF_A_KIND:
        return ANOTHER.get(path, OF_A_KIND.get(last))
    if isinstance(now, bool):
        return not now
    if isinstance(now, int):
        return now + 1
    if isinstance(now, dict):
        return {"k": "v"}
    if isinstance(now, list):
        return [{"k": "v"}]
    return "7"


@pytest.mark.parametrize("path", LEAVES)
def test_every_value_is_used(helm: Helm, path: str) -> None:
    """Another value is another rendering: nothing in values.yaml is without effect."""
    beside = next((v for begin, v in BESIDE.items() if path.startswith(begin)), {})
    words = ("--api-versions", "monitoring.coreos.com/v1")
    before, after = (
        helm.text(values, *words) for values in (beside, _with(beside, path, _another(path)))
    )
    if path not in ("redis.url", "redis.progressUrl"):
        before, after = _stable(before), _stable(after)
    assert before != after


def _stable(text: str) -> str:
    """Without the embedded server's password, which is random unless it is given."""
    return re.sub(
        r"^  (REDIS_URL|PROGRESS_REDIS_URL|password|users.acl): .*$", "", text, flags=re.M
    )


def test_every_used_value_exists() -> None:
    """No template reads a value that values.yaml does not have: a typo would read as empty."""
    for file in sorted((CHART / "templates").rglob("*.*")):
        text = re.sub(r"{{-? ?/\*.*?\*/ ?-?}}", "", file.read_text(), flags=re.S)
        aliases = dict(re.findall(r"(\$\w+) := (\.Values[\w.]+) ?\}\}", text))
        for alias, path in aliases.items():
            text = re.sub(re.escape(alias) + r"\.", f"{path}.", text)
        for used in re.findall(r"\.Values\.([\w.]+)", text):
            _assert_exists(used.rstrip("."), file)


def _assert_exists(used: str, file: Path) -> None:
    node: Any = VALUES
    for key in used.split("."):
        assert isinstance(node, dict), f"{file.name}: {used}"
        if not node and key:  # an object of Kubernetes' own, or texts of the user's
            return
        assert key in node, f"{file.name} reads .Values.{used}, which values.yaml does not have"
        node = node[key]


def _fixed_objects(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    if "properties" in schema:
        yield path, schema
        for key, inner in schema["properties"].items():
            yield from _fixed_objects(inner, f"{path}.{key}" if path else key)


def test_the_schema_knows_every_value_and_no_others() -> None:
    """Each key of values.yaml is in the schema and the other way round; none is let through."""
    for path, schema in _fixed_objects(SCHEMA):
        assert schema["additionalProperties"] is False, path
        node: Any = VALUES
        for key in path.split(".") if path else ():
            node = node[key]
        known = set(schema["properties"]) - ({"global"} if not path else set())
        whole = path.endswith(("requests", "limits"))
        assert set(node) <= known if whole else set(node) == known, path


def test_every_value_is_explained() -> None:
    """Each setting has a comment: they are the reference."""
    text = (CHART / "values.yaml").read_text()
    for name in VALUES["settings"]:
        assert re.search(rf"# .*\n  {name}:", text), name


def test_both_helms_find_nothing_to_complain_about(either_helm: Helm) -> None:
    """`helm lint --strict` passes with the defaults."""
    assert "0 chart(s) failed" in either_helm.run("lint", "--strict", str(CHART))
