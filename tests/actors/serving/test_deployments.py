"""What a config becomes in Ray Serve, and a replica whose device is lost; cli/commands/test_serve.py has a service."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from ray import serve

from actors.serving.deployments import APPLICATION, MODEL, bind, build, deployment_names, holds_model
from actors.serving.gateway.handle_client import HandleClient
from actors.serving.parameters import LimitParameters, ServiceParameters
from actors.serving.types import Reply, Request
from tests.actors import lossy_runtime


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


@pytest.mark.usefixtures("cluster")
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


def _service(*models: Any, **keys: Any) -> ServiceParameters:
    return ServiceParameters.model_validate({"models": models, "keys": {"none": True}} | keys)


def _bound(service: ServiceParameters) -> tuple[Any, dict[str, Any]]:
    """The gateway's deployment, and the arguments and the deployment of each model's."""
    application: Any = bind(service)
    models = {one._bound_deployment.name: one._bound_deployment for one in application._bound_deployment.init_args}
    return application._bound_deployment, models


def test_the_first_model_has_the_deployment_of_an_only_one() -> None:
    assert deployment_names(_service().served()) == [MODEL]
    names = deployment_names(_service("a", "org/b", {"name": "org-b", "model": {"name": "c"}}).served())
    assert names[::2] == [MODEL, "model-org-b"]
    assert names[1].startswith("model-org-b-"), "slashes would end up in names of files"
    assert len(set(names)) == 3
    assert all(map(holds_model, names))
    assert not holds_model("gateway")


def test_each_model_has_its_own_replicas_and_knows_what_shares_the_machine() -> None:
    big = {"model": {"name": "b"}, "replicas": {"min": 1, "max": 4, "gpus": 1, "drain_seconds": 90}}
    gateway, models = _bound(_service("a", big, replicas={"cpus": 0.5}, limits={"timeout_ms": 1000}))
    assert gateway._deployment_config.graceful_shutdown_timeout_s == 90, "a gateway goes after the last replica"
    assert list(models) == [MODEL, "model-b"]
    (own, name, _, labels, beside), scaled = models["model-b"].init_args, models["model-b"]._deployment_config
    assert (own.model.name, own.replicas.gpus, own.replicas.cpus, own.models) == ("b", 1, 0.5, ())
    assert (name, labels) == ("b", {"model": "b"})
    assert [one.max for one in beside] == [1]
    assert (scaled.autoscaling_config.min_replicas, scaled.autoscaling_config.max_replicas) == (1, 4)
    assert models[MODEL].init_args[3] == {"model": "a"}
    assert gateway.max_ongoing_requests == 2 * 2 * 1024
    assert gateway._deployment_config.max_queued_requests == 2 * 1024


def test_an_only_model_has_no_label_whatever_it_is_called() -> None:
    (model,) = _bound(_service({"name": "mine", "model": {"name": "/srv/x"}}))[1].values()
    assert model.init_args[1:] == ("mine", {}, {}, ())


@pytest.mark.parametrize("models", [(), ("a",), ("a", "b")])
def test_a_service_is_bound_as_often_as_one_likes(models: tuple[str, ...]) -> None:
    assert list(_bound(_service(*models))[1]) == deployment_names(_service(*models).served())
