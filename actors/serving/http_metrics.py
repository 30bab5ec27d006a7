"""Requests by route and status for Prometheus, and one page with the metrics of the whole application."""

import asyncio
from collections.abc import Iterable

import aiohttp
import ray
from ray.util.metrics import Counter, Histogram

_PREFIX = "ray_spanmill_"
_SECONDS = 5.0
_MILLISECONDS: list[float] = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000]


class RequestMetrics:
    """Counts what a gateway answers, and how long it takes: an `identity.Watcher`."""

    def __init__(self) -> None:
        self._requests = Counter("spanmill_requests", "Requests by route and status.", ("route", "status"))
        self._times = Histogram("spanmill_request_ms", "Time of a request in the gateway.", _MILLISECONDS, ("route",))

    def __call__(self, path: str | None, status: int, seconds: float) -> None:
        """Counts one request."""
        # Paths that no route knows are anybody's to make up: they must not become labels.
        route = path or "none"
        self._requests.inc(1, {"route": route, "status": str(status)})
        self._times.observe(seconds * 1000, {"route": route})


async def application_metrics() -> str:
    """Our metrics of all nodes of the cluster, in Prometheus' text format."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["MetricsExportPort"]]  # type: ignore[no-untyped-call]
    urls = {f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in nodes}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_SECONDS)) as session:
        texts = await asyncio.gather(*(_fetch(session, url) for url in sorted(urls)))
    return merge(texts)


async def _fetch(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url) as response:
            return await response.text()
    except (aiohttp.ClientError, TimeoutError):
        # A node that is going away must not hide the others.
        return ""


def merge(texts: Iterable[str]) -> str:
    """Our families of several exposition texts, each with one HELP and one TYPE line, in the order of their names."""
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
