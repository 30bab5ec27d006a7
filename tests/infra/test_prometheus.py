"""A real Prometheus, with the config and the alerts of infra/, beside a cluster with online traffic and jobs."""

import json
import math
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from tests.chaos.clusters import SETTINGS, Cluster, cluster
from tests.infra.manifests import INFRA
from tests.infra.test_dashboard import panels
from tests.pipelines.jobs import mixed_rows, sample_rows, write_jsonl
from tests.pipelines.processes import Command, free_port
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.more, pytest.mark.timeout(1800)]

NEED_A_FAULT = {
    "Refused by the replicas": "more requests than the replicas take",
    "Refused by the replicas, by tenant": "more requests than the replicas take",
    "Shards to be tried again": "a stage that fails",
    "Calls to stores that failed": "a store that fails",
}
"""Panels that are empty while all is well, and what fills them."""
_WINDOW = "2m"
"""Ray's nodes gather what their processes count every ten seconds."""
_PATIENCE = 600.0
"""Seconds that anything may take here."""


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def ask(self, path: str, **words: str) -> Any:
        """What its API answers."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=60) as reply:
            return json.load(reply)["data"]

    def values(self, query: str) -> list[float]:
        """The values of a query now, without those that are no number."""
        found = self.ask("query", query=query)["result"]
        return [value for value in (float(one["value"][1]) for one in found) if not math.isnan(value)]


@contextmanager
def running_prometheus(discovery: Path, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with our config, but that it looks every few seconds, and for the nodes of another cluster."""
    if (program := shutil.which("prometheus")) is None:
        pytest.skip("prometheus, which is in Debian's package of that name, is not installed")
    config = yaml.safe_load((INFRA / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "10s", "scrape_timeout": "10s", "evaluation_interval": "10s"}
    [job] = config["scrape_configs"]
    [job["file_sd_configs"][0]["files"]] = [[str(discovery)]]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(INFRA / "alerts.yaml", folder)
    port = free_port()
    words = (
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def asked_all_the_time(url: str) -> Iterator[None]:
    """Online requests until the block ends: good ones, and one of four that nobody could answer."""
    rows, stop = mixed_rows(8), threading.Event()

    def ask() -> None:
        count = 0
        while not stop.wait(0.1):
            row = rows[count % len(rows)]
            body = {"question": row["question"]} | ({} if count % 4 == 0 else {"context": row["context"]})
            _post(f"{url}/answer", {"inputs": [body]})
            count += 1

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join()


def _post(url: str, body: object) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=120).close()
    except urllib.error.HTTPError as refused:
        refused.close()


@dataclass(frozen=True)
class Watched:
    """A cluster with a service, and the Prometheus that scrapes it."""

    cluster: Cluster
    url: str
    """Of the service."""
    prometheus: Prometheus
    model: Path

    @contextmanager
    def job(self, folder: Path, pool: str) -> Iterator[Command]:
        """A job that lasts longer than the test needs it, with a row that nobody can read among its rows."""
        rows = [{**row, "id": f"{turn}-{row['id']}"} for turn in range(100) for row in sample_rows()]
        corpus = write_jsonl(folder / "in.jsonl", [b"{no row}\n", *rows])
        words = ("--model", str(self.model), "--pool", pool, "--set", f"ray.address={self.cluster.address}")
        settings = ("--set", "corpus.shard_rows=50", "--set", "model.threads=1", "--set", "pool.cpus=1")
        command = Command(("spanmill", "answer", str(corpus), str(folder / "out"), *words, *settings), folder, SETTINGS)
        try:
            yield command
        finally:
            command.clean_up()


@pytest.fixture(scope="module")
def watched(untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    port = free_port()
    # Ray's sockets have long names, and pytest's own folders are too deep for them.
    with (
        TemporaryDirectory(prefix="p", ignore_cleanup_errors=True) as short,
        cluster(folder := Path(short) / "r", cpus=8, dashboard=free_port()) as running,
        running_prometheus(folder / "prom_metrics_service_discovery.json", tmp_path_factory.mktemp("p")) as prometheus,
    ):
        words = ("--model", str(untrained_model), "--port", str(port), "--set", f"ray.address={running.address}")
        keys = ("model.threads=1", "limits.timeout_ms=300_000", "sharing.queue_ms=60_000", "keys.none=true")
        settings = [word for key in keys for word in ("--set", key)]
        service = Command(("spanmill", "serve", *words, *settings), running.folder, SETTINGS)
        try:
            service.wait_until(lambda: "ready: http" in service.said()[1], _PATIENCE)
            yield Watched(running, f"http://127.0.0.1:{port}", prometheus, untrained_model)
        finally:
            service.clean_up()


def test_every_panel_shows_something_and_the_alerts_are_quiet(watched: Watched, tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir()
    shared.mkdir()
    empty = {title: set(asked) for title, asked in panels()}

    def look() -> bool:
        for title, asked in empty.items():
            empty[title] = {query for query in asked if not watched.prometheus.values(_in_window(query))}
        return all(title in NEED_A_FAULT for title, asked in empty.items() if asked)

    with asked_all_the_time(watched.url), watched.job(own, "own") as one, watched.job(shared, "serve") as other:
        try:
            until(look, _PATIENCE)
        except AssertionError:
            without = {title: asked for title, asked in empty.items() if asked and title not in NEED_A_FAULT}
            pytest.fail(f"nothing is shown by {without}; the jobs said {one.said()[1][-500:]} {other.said()[1][-500:]}")
        # Each metric of the rules is there, under the very labels that they ask for.
        groups = watched.prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        until(lambda: all(rule["health"] == "ok" for rule in _rules(watched)), _PATIENCE)
        for query in _selectors(rules):
            assert watched.prometheus.values(f"count({query})"), f"nothing is called {query}"
        # That requests are slow is true on a busy machine; that nothing was committed for a while is pending then.
        alerts = watched.prometheus.ask("alerts")["alerts"]
        firing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
        assert {name for name in firing if "Latency" not in name} == set()
        assert watched.prometheus.values("spanmill:request_errors:ratio_rate5m") == [0]
        assert len(watched.prometheus.values("spanmill:request_slow:ratio_rate5m")) == 1


def test_a_job_that_is_gone_leaves_nothing_that_would_alert(watched: Watched, tmp_path: Path) -> None:
    query = 'ray_spanmill_shards{state="left"} > 0'
    # Those of jobs before it go, too.
    until(lambda: not watched.prometheus.values(query), _PATIENCE)
    with watched.job(tmp_path, "own") as command:
        until(lambda: watched.prometheus.values(query), _PATIENCE)
        command.process.kill()
        until(lambda: not watched.prometheus.values(query), _PATIENCE)


def _rules(watched: Watched) -> list[dict[str, Any]]:
    return [rule for group in watched.prometheus.ask("rules")["groups"] for rule in group["rules"]]


def _in_window(query: str) -> str:
    return query.replace("$__rate_interval", _WINDOW)


def _selectors(rules: list[dict[str, Any]]) -> set[str]:
    """The series that the rules select, but for those of errors, of which there are none in health."""
    found = {name for rule in rules for name in re.findall(r"ray_\w+(?:\{[^}]*\})?", rule["query"])}
    assert found
    return {query for query in found if 'status=~"5.."' not in query}
