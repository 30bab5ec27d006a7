"""Replicas under Ray Serve whose device is lost; cli/commands/test_serve.py has the rest of a service."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from ray import serve

from actors.serving.deployments import APPLICATION, MODEL, build
from actors.serving.gateway.handle_client import HandleClient
from actors.serving.parameters import LimitParameters
from actors.serving.types import Reply, Request
from tests.actors import lossy_runtime

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def model(untrained_model: Path, tmp_path: Path) -> Path:
    return Path(copytree(untrained_model, tmp_path / "model"))


@pytest.fixture
def handle(model: Path) -> Iterator[Any]:
    """Of a service without HTTP."""
    serve.start(proxy_location="Disabled")
    named = {"name": str(model), "backend": "tests.actors.lossy_runtime:RUNTIME", "threads": 1}
    application = build({"model": named, "replicas": {"cpus": 0.5}, "gateway": {"cpus": 0.1}, "keys": {"none": True}})
    serve.run(application, name=APPLICATION, route_prefix=None)
    try:
        yield serve.get_deployment_handle(MODEL, APPLICATION)
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]


def test_a_replica_whose_device_is_lost_ends_and_its_requests_are_answered_by_the_next(
    handle: Any, model: Path
) -> None:
    async def ask_all() -> list[Reply]:
        # A replica may take minutes to start on a busy machine.
        client = HandleClient(handle, LimitParameters(timeout_ms=300_000))
        asked = (client.ask(Request(str(n), "answer", (f"Ada has {n} goats.",), ("How many?",))) for n in range(6))
        return list(await asyncio.gather(*asked))

    [first] = (model / lossy_runtime.LOADS).read_text().splitlines()
    expected = [reply.spans for reply in asyncio.run(ask_all())]
    (model / lossy_runtime.LOSSES).write_text("1")
    assert [reply.spans for reply in asyncio.run(ask_all())] == expected
    found = (model / lossy_runtime.LOADS).read_text().splitlines()
    assert found[0] == first
    assert len(set(found)) == 2, "one replica ended with its device, and one came after it"
