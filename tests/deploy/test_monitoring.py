"""Alerts, dashboard and scraping: what is asked is what a dispatcher serves, and alerts fire.

The rules are rendered by the real Helm and judged by the real promtool; the metrics are those of a
real loop. `alerts.yaml` says for each alert what makes it fire.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from contract.env import Reader, Secret
from contract.log import Log
from dispatcher.executors.local import LocalExecutor
from dispatcher.loop import Loop, Pace
from dispatcher.metrics import page
from dispatcher.settings import LOCAL, read
from dispatcher.store import Store, connect
from tests.deploy.chart import NAMESPACE, ROOT, STEM, Helm, Object
from tests.promtool import promtool

pytestmark = pytest.mark.cluster

KNOWN = ("--api-versions", "monitoring.coreos.com/v1")
ON: Object = {
    "monitoring": {
        name: {"enabled": True} for name in ("podMonitor", "prometheusRule", "dashboard")
    }
}
CASES: Object = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())
KUBELET = {f"kubelet_volume_stats_{what}_bytes" for what in ("available", "capacity", "used")}
"""What only the kubelet knows: how full a volume is. Nothing else of others is asked for."""

_SELECTOR = re.compile(r"\b((?:course_runner|process|kubelet|kube|container)_\w+)(?:\{([^}]*)\})?")
_MATCH = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


@pytest.fixture(scope="module")
def rules(helm: Helm) -> list[Object]:
    """The alerts, as the chart makes them."""
    found: list[Object] = helm.objects(ON, *KNOWN)["PrometheusRule", STEM]["spec"]["groups"]
    return found


@pytest.fixture(scope="module")
def served(
    redis7: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, str]]]:
    """The label sets of each metric that a dispatcher serves after a turn and an audit."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()  # what is left of other tests would be findings, to be confirmed first
    folder = tmp_path_factory.mktemp("loop")
    values = {"REDIS_URL": redis7, "STAGING_DIR": str(folder), "QUEUE": "q:monitoring"}
    settings = read(Reader(values), values, executor=LOCAL)
    executor = LocalExecutor(folder, {})
    executor.start()
    store = Store(connect(Secret(redis7)), settings.queue, "d1")
    pace = Pace(block=0.01, recheck=0.0)
    loop = Loop(store, executor, settings.limits, Log.for_task(), pace=pace)
    loop.turn()
    loop.pulse.beat()
    text = page(settings, loop, store, lambda: "")()[1].decode()
    executor.close()
    found: dict[str, list[dict[str, str]]] = {}
    for sample in (sample for family in parse(text) for sample in family.samples):
        found.setdefault(sample.name, []).append(sample.labels)
    return found


def _dashboard(helm: Helm) -> list[tuple[str, str]]:
    """Each expression of the dashboard, with its panel's title."""
    text = helm.objects(ON, *KNOWN)["ConfigMap", f"{STEM}-dashboard"]["data"][f"{STEM}.json"]
    return [(p["title"], t["expr"]) for p in json.loads(text)["panels"] for t in p["targets"]]


def _asked(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    for name, matchers in _SELECTOR.findall(expression):
        yield name, _MATCH.findall(matchers)


def _check(expression: str, served: dict[str, list[dict[str, str]]], where: str) -> None:
    """Each metric is served, with such labels, and with the very values that are asked for."""
    asked = list(_asked(expression))
    assert asked, where
    for name, matchers in asked:
        if name in KUBELET:
            continue
        assert name in served, f"{where}: {name}"
        for label, how, value in matchers:
            if label not in ("namespace", "pod"):  # Prometheus adds them
                have = {labels.get(label) for labels in served[name]}
                assert None not in have, f"{where}: {name} has no label {label}"
                wanted = {v for v in have if v and re.fullmatch(value, v)}
                assert wanted, f"{where}: no {name} with {label}{how}{value}"


# --- the dashboard --------------------------------------------------------------------------------
def test_the_dashboard_asks_only_for_what_is_served(
    helm: Helm, served: dict[str, list[dict[str, str]]]
) -> None:
    panels = _dashboard(helm)
    assert len(panels) > 15
    for title, expression in panels:
        _check(expression, served, title)


def test_alerts_ask_only_for_what_is_served(
    rules: list[Object], served: dict[str, list[dict[str, str]]]
) -> None:
    for alert in rules[0]["rules"]:
        _check(alert["expr"], served, alert["alert"])


def test_what_is_asked_for_by_a_typo_is_found(served: dict[str, list[dict[str, str]]]) -> None:
    """The check can fail: by a name, by a label, by a value."""
    for wrong in ("course_runner_task", 'course_runner_tasks{stat="x"}'):
        with pytest.raises(AssertionError):
            _check(wrong, served, "here")
    with pytest.raises(AssertionError, match="state=runing"):
        _check('sum(course_runner_tasks{state="runing"})', served, "here")


def test_prometheus_can_read_every_expression(
    helm: Helm, rules: list[Object], tmp_path: Path
) -> None:
    """The alerts as they are; those of the dashboard as rules that record."""
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(_dashboard(helm))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [*rules, {"name": "panels", "rules": recorded}]}))
    _promtool("check", "rules", str(file))


def test_what_is_served_is_what_the_documents_list(served: dict[str, list[dict[str, str]]]) -> None:
    """Each metric has its row in docs/operations.md, and each row its metric."""
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = text.partition("\n## Metrics")[2].partition("\n## ")[0].splitlines()
    heads = (row.split("|")[1] for row in rows if row.startswith("| `course_runner"))
    listed = {name for head in heads for name in re.findall(r"`(course_runner_\w+)`", head)}
    ours = {name for name in served if name.startswith("course_runner_")}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours} == listed


# --- the alerts -----------------------------------------------------------------------------------
def test_every_alert_is_tried(rules: list[Object]) -> None:
    assert {alert["alert"] for alert in rules[0]["rules"]} == set(CASES)


def test_alerts_fire_when_they_should_and_only_then(rules: list[Object], tmp_path: Path) -> None:
    """Each in two little worlds: one that is its reason, one that is close to it."""
    _try(tmp_path, {alert["alert"]: (alert, [*_worlds(alert)]) for alert in rules[0]["rules"]})


def test_another_releases_trouble_is_not_ours(rules: list[Object], tmp_path: Path) -> None:
    """Two releases in one namespace: what the other's dispatcher says raises nothing here."""
    tried = {}
    for alert in rules[0]["rules"]:
        name, fires = alert["alert"], CASES[alert["alert"]]["fires"]
        if "labels" in fires or name == "CourseRunnerDispatcherDown":
            continue  # a kubelet's, or one that fires because there is no dispatcher of ours
        series = _series(fires["series"], pod="other-course-runner-dispatcher-x")
        none = {"eval_time": f"{fires['at']}m", "alertname": name, "exp_alerts": []}
        world = {"interval": "1m", "input_series": series, "alert_rule_test": [none]}
        tried[name] = (alert, [world])
    assert len(tried) == len(CASES) - 3
    _try(tmp_path, tried)


def _try(folder: Path, tried: dict[str, tuple[Object, list[Object]]]) -> None:
    """Let promtool play the worlds of each alert, which is the only rule in them."""
    for name, (alert, worlds) in tried.items():
        groups = {"groups": [{"name": "one", "rules": [alert]}]}
        (folder / f"{name}.rules.yaml").write_text(yaml.safe_dump(groups))
        whole = {"rule_files": [f"{name}.rules.yaml"], "evaluation_interval": "1m", "tests": worlds}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(whole))
    _promtool("test", "rules", *(str(folder / f"{name}.yaml") for name in tried))


def _worlds(alert: Object) -> Iterator[Object]:
    name, fires = alert["alert"], CASES[alert["alert"]]["fires"]
    moments: list[Object] = []
    if "before" in fires:
        moments.append({"eval_time": f"{fires['before']}m", "alertname": name, "exp_alerts": []})
    labels = fires.get("labels", {})
    said = {key: _filled(text, labels) for key, text in alert["annotations"].items()}
    expected = {"exp_labels": {**labels, **alert["labels"]}, "exp_annotations": said}
    moments.append({"eval_time": f"{fires['at']}m", "alertname": name, "exp_alerts": [expected]})
    yield {
        "interval": "1m",
        "input_series": _series(fires["series"]),
        "alert_rule_test": moments,
    }
    never = {"eval_time": f"{fires['at']}m", "alertname": name, "exp_alerts": []}
    quiet = _series(CASES[name]["quiet"])
    yield {"interval": "1m", "input_series": quiet, "alert_rule_test": [never]}


def _filled(text: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)


def _series(short: dict[str, str], pod: str = f"{STEM}-dispatcher-x") -> list[dict[str, str]]:
    """The series of a case, with the labels that a scrape adds."""
    found = []
    for selector, values in short.items():
        name, _, rest = selector.partition("{")
        labels = [rest.removesuffix("}")] if rest else []
        labels.append(f'namespace="{NAMESPACE}"')
        if not name.startswith("kubelet_"):
            name, labels = f"course_runner_{name}", [*labels, f'pod="{pod}"']
        found.append({"series": f"{name}{{{','.join(labels)}}}", "values": values})
    return found


def _promtool(*words: str) -> None:
    ended = subprocess.run([promtool(), *words], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr


# --- scraping -------------------------------------------------------------------------------------
def test_the_monitor_finds_the_dispatchers_port(helm: Helm) -> None:
    """By the labels of its pods and the name of its port."""
    objects = helm.objects(ON, *KNOWN)
    monitor = objects["PodMonitor", STEM]["spec"]
    pods = objects["Deployment", f"{STEM}-dispatcher"]["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["path"] == "/metrics"
    ports = [port["name"] for port in pods["spec"]["containers"][0]["ports"]]
    assert endpoint["port"] in ports


def test_only_who_scrapes_may_reach_the_port(helm: Helm) -> None:
    """Nobody by default; with the monitor the operator's Prometheus, or whom the values name."""
    assert _ingress(helm.objects()) == []
    prometheus = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    assert _ingress(helm.objects(ON, *KNOWN))[0]["from"] == [prometheus]
    own: Object = {"podSelector": {"matchLabels": {"app": "scraper"}}}
    named = {"monitoring": {"podMonitor": {"enabled": True, "from": [own]}}}
    also = {**named, "networkPolicy": {"dispatcherFrom": [prometheus]}}
    assert _ingress(helm.objects(also, *KNOWN))[0]["from"] == [prometheus, own]


def _ingress(objects: Any) -> list[Any]:
    rules: list[Any] = objects["NetworkPolicy", f"{STEM}-dispatcher"]["spec"]["ingress"]
    return rules


def test_the_monitor_only_where_the_cluster_knows_it(helm: Helm) -> None:
    """Elsewhere nothing is rendered, and the notes say so."""
    values = {"monitoring": {"podMonitor": {"enabled": True}}}
    assert ("PodMonitor", STEM) not in helm.objects(values)
    assert ("PodMonitor", STEM) in helm.objects(values, *KNOWN)
    assert "knows no PodMonitor" in helm.notes(values)
