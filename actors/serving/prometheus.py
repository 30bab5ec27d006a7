"""The service's Prometheus metrics: a gateway's, a replica's, and the page that merges those of all nodes.

They are exported by Ray, which puts `ray_` before their names.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import ray
from ray.util.metrics import Counter, Gauge, Histogram

from actors.serving.types import Refusal, Reply

if TYPE_CHECKING:
    # A gateway counts requests, and has neither.
    from actors.engine.passes import Pass
    from actors.serving.replica.replica import Replica

_PREFIX = "ray_spanmill_"
_FETCH_SECONDS = 5.0
_REQUEST_MS: list[float] = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000]
_REPLICA_MS: list[float] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
_SIZES: list[float] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
_TOKENS = [float(64 << i) for i in range(12)]
_CLASS = ("class",)
_CLASS_AND_TENANT = ("class", "tenant")
_ONLINE, _OFFLINE = {"class": "online"}, {"class": "offline"}


PROBES = frozenset(
    {
        "/live",
        "/ready",
        "/health",
        "/ping",
        "/metrics",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model:path}/ready",
    }
)
"""Routes that watchers ask all day: their times would hide those of clients."""


class RequestMetrics:
    """Metrics of one gateway: requests by route, status and tenant, and the time of those that are no probes.

    It is an `access_log.RequestObserver`.
    """

    def __init__(self, health_route: str | None = None, names_models: bool = False) -> None:
        """Takes a further path of the probe /ready, where the service has one.

        Args:
            names_models: whether there are several models, and a label says which a request is about.
        """
        self._probes = PROBES if health_route is None else PROBES | {health_route}
        self._names_models = names_models
        by = ("route", "model") if names_models else ("route",)
        self._requests = Counter(
            "spanmill_requests", "Requests by route, status and tenant.", (*by, "status", "tenant")
        )
        self._times = Histogram("spanmill_request_ms", "Time of a request in the gateway.", _REQUEST_MS, by)

    def __call__(self, path: str | None, status: int, seconds: float, tenant: str, model: str | None = None) -> None:
        """Counts one request."""
        # Paths that no route knows are anybody's to make up: they must not become labels.
        tags = {"route": path or "none"} | ({"model": model or "none"} if self._names_models else {})
        self._requests.inc(1, tags | {"status": str(status), "tenant": tenant})
        if tags["route"] not in self._probes:
            self._times.observe(seconds * 1000, tags)


class ReplicaMetrics:
    """Metrics of one replica: queues and passes by class (online, offline), rows, tokens and refusals by tenant too."""

    def __init__(self, replica: "Replica", labels: Mapping[str, str] | None = None) -> None:
        """Has the replica's engine report its passes; all metrics have the labels, too."""
        more = dict(labels or {})
        by_class, by_reason = (*_CLASS, *more), ("reason", "tenant", *more)
        self._in_hand = Gauge("spanmill_in_hand", "Online requests and pieces of shards in a replica.", by_class)
        self._queued = Histogram(
            "spanmill_queue_ms",
            "Wait of an online request, and of an offline pass, for the device.",
            _REPLICA_MS,
            by_class,
        )
        by_tenant = (*_CLASS_AND_TENANT, *more)
        self._windows = Histogram("spanmill_pass_windows", "Windows of a pass.", _SIZES, by_class)
        self._tokens = Histogram("spanmill_pass_tokens", "Tokens of a pass, padding included.", _TOKENS, by_class)
        self._padding = Counter("spanmill_padding_tokens", "Tokens of padding that were computed.", by_class)
        self._seconds = Histogram("spanmill_pass_ms", "Time of a pass.", _REPLICA_MS, by_class)
        self._rows = Counter("spanmill_served_rows", "Rows answered or embedded.", by_tenant)
        self._served = Counter("spanmill_served_tokens", "Tokens of these rows, without padding.", by_tenant)
        self._refused = Counter("spanmill_refused", "Online requests refused by a replica.", by_reason)
        for metric in (
            *(self._in_hand, self._queued, self._windows, self._tokens, self._padding),
            *(self._seconds, self._rows, self._served, self._refused),
        ):
            metric.set_default_tags(more)
        self._replica = replica
        replica.actor.engine.watch(self._passed)

    @contextmanager
    def online(self, tenant: str) -> Iterator[Callable[[Reply | Refusal], None]]:
        """Counts an online request as in hand for the length of the block; call what it yields with the outcome."""
        self._in_hand.set(self._replica.in_hand + 1, _ONLINE)
        try:
            yield lambda outcome: self._answered(outcome, tenant)
        finally:
            self._in_hand.set(self._replica.in_hand, _ONLINE)

    def offline(self, pieces: int) -> None:
        """Records how many pieces of shards are in hand now."""
        self._in_hand.set(pieces, _OFFLINE)

    def finished(self, tenant: str, rows: int, tokens: int) -> None:
        """Counts a piece of a shard that has just been finished."""
        self._served_to(_OFFLINE, tenant, rows, tokens)

    def _answered(self, outcome: Reply | Refusal, tenant: str) -> None:
        if isinstance(outcome, Refusal):
            self._refused.inc(1, {"reason": outcome.reason, "tenant": tenant})
            return
        self._queued.observe(outcome.timing.queue, _ONLINE)
        self._served_to(_ONLINE, tenant, len(outcome.tokens), sum(outcome.tokens))

    def _served_to(self, tags: dict[str, str], tenant: str, rows: int, tokens: int) -> None:
        of_tenant = {**tags, "tenant": tenant}
        # Ray refuses to count nothing.
        if rows:
            self._rows.inc(rows, of_tenant)
        if tokens:
            self._served.inc(tokens, of_tenant)

    def _passed(self, one: "Pass") -> None:
        tags = _ONLINE if one.online else _OFFLINE
        if not one.online:
            self._queued.observe(one.waited * 1000, tags)
        self._windows.observe(one.size.windows, tags)
        self._tokens.observe(one.size.tokens, tags)
        self._seconds.observe(one.seconds * 1000, tags)
        if padding := one.size.tokens - one.tokens:
            self._padding.inc(padding, tags)


async def application_metrics() -> str:
    """One page with our metrics of all nodes of the cluster, in Prometheus' text format."""
    # Ray is asked in a thread: it answers when its head does, and every request of this gateway would wait for that.
    return merge(await pages(await asyncio.to_thread(_metrics_urls)))


def _metrics_urls() -> set[str]:
    nodes = [node for node in ray.nodes() if node["Alive"] and node["MetricsExportPort"]]  # type: ignore[no-untyped-call]
    return {f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in nodes}


async def pages(urls: Iterable[str]) -> list[str]:
    """What these URLs say, sorted by URL; an empty page for one that does not answer within five seconds."""
    return await asyncio.gather(*map(_page, sorted(urls)))


async def _page(url: str) -> str:
    # Not aiohttp, which would be 5 MB of every gateway for this page alone.
    try:
        return await asyncio.wait_for(asyncio.to_thread(_fetch, url), _FETCH_SECONDS)
    except (OSError, HTTPException):
        # A node that is going away must not hide the others. TimeoutError is an OSError.
        return ""


def _fetch(url: str) -> str:
    # The nodes of a cluster are reached without a proxy.
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=_FETCH_SECONDS) as response:
            page: bytes = response.read()
    except HTTPError as refused:
        refused.close()
        raise
    return page.decode()


def merge(texts: Iterable[str]) -> str:
    """Merges the expositions of several nodes: our metric families by name, each with one HELP and one TYPE line."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                if family.startswith(_PREFIX) and len(heads.setdefault(family, [])) < len(("HELP", "TYPE")):
                    heads[family].append(line)
            elif family.startswith(_PREFIX) and line.startswith(family):
                samples.setdefault(family, []).append(line)
    lines = [line for name in sorted(samples) for line in (*heads[name], *samples[name])]
    return "".join(f"{line}\n" for line in lines)
