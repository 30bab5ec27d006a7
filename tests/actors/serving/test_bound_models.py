"""The deployments of a service with several models, without a cluster."""

from typing import Any

import pytest

from actors.serving.deployments import MODEL, bind, deployment_names, holds_model
from actors.serving.parameters import ServiceParameters


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
    (own, name, labels, beside), scaled = models["model-b"].init_args, models["model-b"]._deployment_config
    assert (own.model.name, own.replicas.gpus, own.replicas.cpus, own.models) == ("b", 1, 0.5, ())
    assert (name, labels) == ("b", {"model": "b"})
    assert [one.max for one in beside] == [1]
    assert (scaled.autoscaling_config.min_replicas, scaled.autoscaling_config.max_replicas) == (1, 4)
    assert models[MODEL].init_args[2] == {"model": "a"}
    assert gateway.max_ongoing_requests == 2 * 2 * 1024


def test_replicas_are_not_replaced_for_what_does_not_matter_to_them() -> None:
    fixed = {"model": {"name": "b", "threads": 2}}
    before, after = (_bound(_service("a", fixed, *more))[1] for more in ((), ("c",)))
    assert before["model-b"].init_args == after["model-b"].init_args
    assert before[MODEL].init_args != after[MODEL].init_args, "its threads are fewer now"


def test_an_only_model_has_no_label_whatever_it_is_called() -> None:
    (model,) = _bound(_service({"name": "mine", "model": {"name": "/srv/x"}}))[1].values()
    assert model.init_args[1:] == ("mine", {}, ())


@pytest.mark.parametrize("models", [(), ("a",), ("a", "b")])
def test_a_service_is_bound_as_often_as_one_likes(models: tuple[str, ...]) -> None:
    assert list(_bound(_service(*models))[1]) == deployment_names(_service(*models).served())
