"""The alerts: both files say the same, and each alert fires when it should, by Prometheus' own tool."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from actors.serving.prometheus import PROBES
from tests.infra.manifests import INFRA, of_kind, rendered

ALERTS = INFRA / "alerts.yaml"
TESTS = Path(__file__).with_name("alerts_test.yaml")


def _promtool(*words: str) -> subprocess.CompletedProcess[str]:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool, which is in Debian's package prometheus, is not installed")
    return subprocess.run((promtool, *words), capture_output=True, text=True)


def test_the_operator_has_the_rules_of_the_file() -> None:
    rule = of_kind(rendered("overlays/cpu/service", "monitoring"), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())


def test_prometheus_takes_its_config_and_the_rules() -> None:
    done = _promtool("check", "config", str(INFRA / "prometheus.yaml"))
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout


def test_each_alert_fires_and_stays_quiet_as_it_should() -> None:
    done = _promtool("test", "rules", str(TESTS))
    assert done.returncode == 0, done.stderr


def test_each_alert_is_tested_both_ways() -> None:
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    tests = [one for group in yaml.safe_load(TESTS.read_text())["tests"] for one in group["alert_rule_test"]]
    assert {one["alertname"] for one in tests if one["exp_alerts"]} == alerts
    assert {one["alertname"] for one in tests if not one["exp_alerts"]} == alerts


@pytest.mark.more
@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("for: 30m", "for: 3h"),
        ("14.4 * 0.001", "14.4 * 0.1"),
        ("6 * 0.01 ", "6 * 0.1 "),
        ("live|ready|", "live|"),
        ("== 0\n          or (", "== 0\n          unless ("),
        (
            "rate1h > 14.4 * 0.001 and spanmill:request_errors:ratio_rate5m",
            "rate1h > 14.4 * 0.001 and spanmill:request_errors:ratio_rate1h",
        ),
    ],
)
def test_the_test_of_the_alerts_sees_a_rule_that_is_wrong(was: str, becomes: str, tmp_path: Path) -> None:
    rules = ALERTS.read_text()
    assert was in rules
    (tmp_path / "alerts.yaml").write_text(rules.replace(was, becomes))
    made = tmp_path / "alerts_test.yaml"
    made.write_text(TESTS.read_text().replace("../../infra/alerts.yaml", "alerts.yaml"))
    assert _promtool("test", "rules", str(made)).returncode != 0


def test_probes_are_no_requests() -> None:
    rule = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"][0]["expr"]
    [left_out] = set(re.findall(r'route!~"([^"]+)"', rule))
    assert all(re.fullmatch(left_out, route) for route in PROBES)
    assert not any(re.fullmatch(left_out, route) for route in ("/answer", "/v1/embeddings", "/v2/models/{model}/infer"))
