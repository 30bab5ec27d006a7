"""Tenants of a running `spanmill serve`: shares of requests and of jobs by weight, limits of keys, metrics."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.jobs import write_jsonl
from tests.pipelines.processes import Command, free_port

pytestmark = pytest.mark.more

WEIGHTS = {"a": 1.0, "b": 1.0, "c": 2.0}
WORDS = ("The mill stood by the river and ground the corn of the valley. " * 10).strip()
"""Some 150 tokens."""
_CLIENTS, _CAPACITY_SECONDS = 8, 15.0
_LEARNING, _MOST_SECONDS = 10.0, 240.0
_ENOUGH = 300
"""Answers from which shares are told."""


class Service:
    """A running service; the key of each tenant is the tenant's name behind `key-of-`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        settings = [f"http.port={self.port}", "model.threads=1", "limits.timeout_ms=300_000"]
        # Two jobs run beside it on two cores.
        settings += ["replicas.cpus=0.3", "tenants.limited.variable=LIMITED_KEYS"]
        settings += ["tenants.limited.requests_in_hand=1", "tenants.limited.tokens_per_minute=60"]
        for tenant, weight in WEIGHTS.items():
            (folder / tenant).write_text(f"key-of-{tenant}\n")
            settings += [f"tenants.{tenant}.file={folder / tenant}", f"tenants.{tenant}.weight={weight}"]
        words = [word for setting in settings for word in ("--set", setting)]
        self.command = Command(("spanmill", "serve", *words), folder, {"LIMITED_KEYS": "key-of-limited"})

    def ask(self, tenant: str, path: str, body: object = None) -> tuple[int, Any, Any]:
        """Status, body and headers of one request."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer key-of-{tenant}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=400) as reply:
                return reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def tokens(self, kind: str) -> dict[str, float]:
        """By tenant, the tokens that were computed, online or offline, as the page of metrics has them."""
        page = self.ask("a", "/metrics")[1].decode()
        found = {}
        for labels, value in re.findall(r"^ray_spanmill_served_tokens_total\{(.*)\} (\S+)$", page, re.MULTILINE):
            tags = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if tags["class"] == kind:
                found[tags["tenant"]] = float(value)
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"))
    try:
        service.command.wait_until(lambda: "ready: http" in service.command.said()[1])
        yield service
    finally:
        service.command.clean_up()


def _capacity(service: Service) -> float:
    """Requests per second, where some clients always wait."""
    until = time.monotonic() + _CAPACITY_SECONDS

    def ask_on(_: int) -> int:
        asked = 0
        while time.monotonic() < until:
            assert service.ask("a", "/embed", {"inputs": WORDS})[0] == 200
            asked += 1
        return asked

    with ThreadPoolExecutor(_CLIENTS) as threads:
        return sum(threads.map(ask_on, range(_CLIENTS))) / _CAPACITY_SECONDS


def test_requests_beyond_what_there_is_share_by_weight(service: Service) -> None:
    """Each tenant asks for all that there is, at a fixed rate, whatever becomes of its requests."""
    rate = _capacity(service)
    answered: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    began = time.monotonic()
    is_over = threading.Event()

    def ask(tenant: str) -> None:
        status, body, headers = service.ask(tenant, "/embed", {"inputs": WORDS})
        if status != 200:
            assert (status, headers["Retry-After"]) == (429, "1"), body
            refused[tenant] += 1
        elif time.monotonic() > began + _LEARNING and not is_over.is_set():
            answered[tenant] += 1

    with ThreadPoolExecutor(256) as threads:
        asked = []
        while answered.total() < _ENOUGH and (now := time.monotonic() - began) < _MOST_SECONDS:
            asked += [threads.submit(ask, tenant) for tenant in WEIGHTS]
            time.sleep(max(0.0, len(asked) / len(WEIGHTS) / rate - now))
        is_over.set()
        for one in asked:
            one.result()
    assert set(refused) == set(WEIGHTS), "each asks for more than its share"
    # All requests have the same tokens.
    for tenant, weight in WEIGHTS.items():
        share = answered[tenant] / answered.total()
        assert share == pytest.approx(weight / sum(WEIGHTS.values()), rel=0.1), (answered, refused)


def test_the_limits_of_a_key_are_told_in_the_refusal(service: Service) -> None:
    body = {"context": WORDS, "question": "Where did the mill stand?"}
    assert service.ask("limited", "/answer", body)[0] == 200
    status, said, headers = service.ask("limited", "/answer", body)
    assert (status, json.loads(said)["reason"]) == (429, "tokens_per_minute")
    assert int(headers["Retry-After"]) > 60, "more than a hundred tokens at sixty a minute"
    assert service.ask("a", "/answer", body)[0] == 200


def test_jobs_share_the_replicas_by_weight_and_name_the_tenant(service: Service, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{"id": str(n), "text": f"{n}. {WORDS}"} for n in range(20_000)])
    jobs = {
        tenant: Command(
            ("spanmill", "embed", str(corpus), str(tmp_path / tenant), "--pool", "serve", "--tenant", tenant), tmp_path
        )
        for tenant in ("a", "c")
    }
    try:
        before: dict[str, float] = {}

        def both_run() -> bool:
            before.update(service.tokens("offline"))
            time.sleep(1)
            return before.keys() >= jobs.keys()

        # Two jobs begin beside the service, on a machine that may be busy.
        jobs["a"].wait_until(both_run, seconds=900)
        after = before
        while sum(after[tenant] - before[tenant] for tenant in jobs) < 60_000:
            time.sleep(1)
            after = service.tokens("offline")
            for job in jobs.values():
                assert job.process.poll() is None, job.said()
        had = {tenant: after[tenant] - before[tenant] for tenant in jobs}
        # The page is some seconds old, and a piece more or less of each has been counted.
        assert had["c"] / had["a"] == pytest.approx(2.0, rel=0.3), had
    finally:
        for job in jobs.values():
            job.clean_up()


def test_a_job_of_a_tenant_that_the_service_does_not_have_is_refused(service: Service, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{"id": "0", "text": WORDS}])
    words = ("spanmill", "embed", str(corpus), str(tmp_path / "out"), "--pool", "serve", "--tenant", "nobody")
    code, _, errors = Command(words, tmp_path).end()
    assert code == 2, errors
    assert "has no tenant 'nobody'; it has default, limited, a, b, c" in errors
