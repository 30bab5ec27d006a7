"""What Ray Serve and the service make of the configs in infra/, without a cluster."""

from typing import Any

import pytest
from ray.serve.schema import ServeDeploySchema

from actors.parameters import ModelParameters
from actors.serving.deployments import APPLICATION, build
from actors.serving.gateway.middleware.auth import NoKeysError, read_keys
from actors.serving.key_parameters import KeyParameters
from actors.serving.parameters import ServiceParameters
from tests.infra.manifests import OVERLAYS, kubernetes_serve_config, serve_config

CONFIGS = pytest.mark.parametrize(
    "config", [serve_config(), *map(kubernetes_serve_config, OVERLAYS)], ids=["local", *OVERLAYS]
)


@CONFIGS
def test_ray_serve_knows_every_key(config: dict[str, Any]) -> None:
    schema = ServeDeploySchema.model_validate(config)
    (application,) = schema.applications
    # Ray says nothing of keys that it does not know.
    for given, taken in (
        (config, schema),
        (config["http_options"], schema.http_options),
        (config["applications"][0], application),
    ):
        assert set(given) <= set(type(taken).model_fields)


@CONFIGS
def test_the_service_is_built_of_the_args(config: dict[str, Any]) -> None:
    (application,) = ServeDeploySchema.model_validate(config).applications
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    assert application.name == APPLICATION  # where `--pool serve` looks
    service = ServiceParameters.model_validate(application.args)
    assert build(application.args)._bound_deployment.num_replicas == service.gateway.replicas


def test_the_local_config_gives_what_the_command_gives() -> None:
    (application,) = serve_config()["applications"]
    service = ServiceParameters.model_validate(application["args"])
    # By the name that needs no folder: what `ray start` and `serve deploy` have as theirs does not matter.
    assert service.model.name == "minilm-qa"
    named = ServiceParameters(model=ModelParameters(name=service.model.name))
    assert service.model_copy(update={"keys": KeyParameters()}) == named


@CONFIGS
def test_whoever_listens_to_other_machines_wants_keys(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert config["http_options"]["host"] == "0.0.0.0"
    keys = ServiceParameters.model_validate(config["applications"][0]["args"]).keys
    monkeypatch.delenv("SPANMILL_KEYS", raising=False)
    with pytest.raises(NoKeysError, match="SPANMILL_KEYS is not set"):
        read_keys(keys)
    monkeypatch.setenv("SPANMILL_KEYS", "one")
    assert read_keys(keys) == (b"one",)
