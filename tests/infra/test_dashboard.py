"""The dashboard asks for metrics that exist, with labels that they have."""

import json
import re
from collections.abc import Iterator

from tests.infra.manifests import INFRA, ROOT

DOCUMENTS = (ROOT / "docs" / "watching.md", ROOT / "docs" / "serving.md")


def panels() -> Iterator[tuple[str, list[str]]]:
    """Titles, and the queries behind each."""
    dashboard = json.loads((INFRA / "dashboards" / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        if "targets" in panel:
            yield panel["title"], [target["expr"] for target in panel["targets"]]


def queries() -> Iterator[str]:
    for _, asked in panels():
        yield from asked


def test_panels_of_requests_are_split_by_route() -> None:
    of_requests = [
        query
        for title, asked in panels()
        for query in asked
        if "ray_spanmill_request" in query and not title.endswith((" by tenant", " by model"))
    ]
    assert len(of_requests) == 4
    assert all(re.search(r"by \([^)]*\broute\b", query) for query in of_requests)


def test_every_metric_is_documented() -> None:
    documented = set(re.findall(r"`(spanmill_\w+)`", "".join(path.read_text() for path in DOCUMENTS)))
    asked = {
        re.sub(r"_(total|bucket|sum|count)$", "", name)
        for query in queries()
        for name in re.findall(r"ray_(spanmill_\w+)", query)
    }
    assert asked
    assert asked <= documented


def test_every_metric_of_the_service_is_documented() -> None:
    code = "".join(path.read_text() for path in (ROOT / "actors" / "serving").rglob("*.py"))
    made = set(re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(spanmill_\w+)"', code))
    assert made
    serving = (ROOT / "docs" / "serving.md").read_text()
    assert made <= set(re.findall(r"`(spanmill_\w+)`", serving))
