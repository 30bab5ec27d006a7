"""Which requests are timed, and how pages of several nodes become one; test_serve has a page of a running service."""

import pytest
from starlette.routing import Route

from actors.serving import prometheus
from actors.serving.app import PROTOCOLS
from actors.serving.context import Context
from actors.serving.prometheus import PROBES, RequestMetrics, merge


class _Metric:
    """Remembers the tags of what it is told; Ray's own needs a cluster to be looked at."""

    def __init__(self, *_: object) -> None:
        self.told: list[str] = []

    def observe(self, value: float, tags: dict[str, str]) -> None:
        self.told.append(tags["route"])

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self.told.append(tags["route"])


def test_probes_are_counted_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, timed = _Metric(), _Metric()
    monkeypatch.setattr(prometheus, "Counter", lambda *_: counted)
    monkeypatch.setattr(prometheus, "Histogram", lambda *_: timed)
    metrics = RequestMetrics()
    for path in (*sorted(PROBES), "/answer", None):
        metrics(path, 200, 0.01)
    assert counted.told == [*sorted(PROBES), "/answer", "none"]
    assert timed.told == ["/answer", "none"]


def test_every_probe_of_every_protocol_is_known(context: Context) -> None:
    routes = [route for protocol in PROTOCOLS for route in protocol(context).router.routes]
    paths = {route.path for route in routes if isinstance(route, Route)}
    assert paths >= PROBES
    assert {path for path in paths if path.endswith(("live", "ready", "health", "metrics"))} == PROBES


def test_pages_of_several_nodes_are_one() -> None:
    head = "# HELP ray_spanmill_rows Rows.\n# TYPE ray_spanmill_rows gauge\n"
    other = "# HELP ray_tasks Tasks.\nray_tasks 3\n"
    pages = [head + f'ray_spanmill_rows{{node="{node}"}} 1\n' + other for node in "ab"]
    assert merge(pages) == head + 'ray_spanmill_rows{node="a"} 1\nray_spanmill_rows{node="b"} 1\n'
