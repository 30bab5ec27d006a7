"""The config of a service: several models, and several tenants; tests/pipelines/config has how it is read."""

from typing import Any

import pytest
from pydantic import ValidationError

from actors.parameters import EmbeddingParameters, ModelParameters
from actors.serving.parameters import ServedModel, ServiceParameters


def _service(**keys: Any) -> ServiceParameters:
    return ServiceParameters.model_validate(keys)


def test_what_an_entry_leaves_out_is_what_the_service_says() -> None:
    service = _service(
        model={
            "name": "of-nobody",
            "revision": "v3",
            "backend": "onnxruntime",
            "threads": 2,
            "storage": {"anon": True},
        },
        replicas={"cpus": 0.5, "max": 3},
        qa={"top_k": 2},
        models=[
            {"model": {"name": "org/a"}},
            {"name": "b", "model": {"name": "s3://x/y", "threads": 1, "storage": {"key": "k"}}, "replicas": {"max": 1}},
            "org/c",
        ],
    )
    a, b, c = service.served()
    assert (a.model.name, a.model.revision, a.model.backend, a.model.threads) == ("org/a", None, "onnxruntime", 2)
    assert (a.replicas.max, b.replicas.max, b.replicas.cpus, b.qa.top_k) == (3, 1, 0.5, 2)
    assert (b.model.threads, b.model.backend, b.model.storage) == (1, "onnxruntime", {"key": "k"})
    assert [one.public_name for one in (a, b, c)] == ["org/a", "b", "org/c"]
    alone = service.of_one(b)
    assert (alone.model, alone.replicas, alone.models) == (b.model, b.replicas, ())


def test_one_model_is_served_as_ever() -> None:
    service = _service(model={"name": "org/a"}, embedding={"pooling": "cls"})
    (one,) = service.served()
    assert (one.model, one.public_name, one.embedding.pooling) == (service.model, "org/a", "cls")
    assert service.with_served([one]) == service


def test_entries_may_be_made_in_python_too() -> None:
    of_service = EmbeddingParameters(pooling="max")
    service = ServiceParameters(
        embedding=of_service,
        models=({"model": ModelParameters(name="a")}, ServedModel(model=ModelParameters(name="b"))),  # type: ignore[arg-type]
    )
    assert [one.embedding.pooling for one in service.models] == ["max", "mean"]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([{"model": {"name": "x/mine"}}, {"model": {"name": "/srv/mine"}}], None),
        (["/a/mine", "/b/mine"], "models: two models are called mine; give one of them a `name`"),
        (
            ["mine", {"name": "mine/embed", "model": {"name": "b"}}],
            "could be a path of the model mine or of mine/embed",
        ),
        ([{"model": {"threads": 1}}], r"models\.0\.model\.name: it is missing; say which model this is"),
        ([{"name": "a"}], r"models\.0\.model\.name: it is missing"),
        ([{"name": "a b", "model": {"name": "b"}}], "letters, digits"),
        ([{"model": {"name": "b"}, "replica": {}}], "models.0.replica"),
        ([{"model": {"name": "b", "threads": 0}}], "models.0.model.threads"),
        ([3], r"models\.0"),
        ({"a": 1}, "models"),
    ],
)
def test_models_that_cannot_be_are_refused(models: Any, said: str | None) -> None:
    if said is None:
        assert [one.public_name for one in _service(models=models).served()] == ["x/mine", "mine"]
        return
    with pytest.raises(ValidationError, match=said):
        _service(models=models)


def _tenants(**tenants: dict[str, object]) -> ServiceParameters:
    return ServiceParameters.model_validate({"tenants": tenants})


def test_weights_are_those_of_the_config_and_the_default_tenant_is_always_there() -> None:
    assert dict(ServiceParameters().weights.weights) == {"default": 1.0}
    found = _tenants(search={"variable": "SEARCH", "weight": 3}, mining={"file": "/keys"})
    assert dict(found.weights.weights) == {"default": 1.0, "search": 3.0, "mining": 1.0}
    assert dict(_tenants(default={"weight": 5}).weights.weights) == {"default": 5.0}


def test_a_body_of_the_longest_length_has_room_in_what_is_left_of_what_is_kept() -> None:
    limits = {"max_request_bytes": 1 << 20, "max_bytes_in_flight": 1 << 20}
    assert ServiceParameters.model_validate({"limits": limits}).weights
    with pytest.raises(ValidationError, match=r"is less than twice limits\.max_request_bytes"):
        ServiceParameters.model_validate({"limits": limits, "tenants": {"search": {"file": "/keys"}}})


def test_a_tenant_for_whom_less_than_one_request_is_kept_is_named() -> None:
    tenants = {"search": {"file": "/keys", "weight": 0.001}}
    with pytest.raises(
        ValidationError, match=r"max_in_flight \(1024\) keeps less than one request .* search by its wei"
    ):
        _service(tenants=tenants, sharing={"queue_requests": 10_000})
    with pytest.raises(ValidationError, match=r"sharing\.queue_requests \(3\) keeps less than one .* tenant default"):
        _service(tenants={"search": {"file": "/keys"}}, sharing={"queue_requests": 3})
    assert _service(tenants={"search": {"file": "/keys"}}, sharing={"queue_requests": 4}, limits={"max_in_flight": 4})
    assert _service(sharing={"queue_requests": 1}, limits={"max_in_flight": 1}), "one tenant has the whole room"


def test_each_of_several_models_has_all_tenants() -> None:
    service = _service(models=["a", "b"], tenants={"search": {"file": "/keys", "weight": 3}})
    for one in service.served():
        assert dict(service.of_one(one).weights.weights) == {"default": 1.0, "search": 3.0}


def test_a_health_route_below_models_is_refused_where_there_are_several() -> None:
    gateway = {"health_route": "/models/a/up"}
    assert _service(models=["a"], gateway=gateway).gateway.health_route == "/models/a/up"
    with pytest.raises(
        ValidationError, match=r"gateway\.health_route: with several models /models/a/up is a path of one"
    ):
        _service(models=["a", "b"], gateway=gateway)
