"""What the Kubernetes manifests say of the code, the image and each other is true."""

import shlex
from importlib.metadata import version
from typing import Any

import pytest
import typer.main

from actors.serving.gateway.middleware.auth import OPEN
from actors.serving.parameters import ServiceParameters
from pipelines.cli.main import app
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from tests.infra.manifests import INFRA, ROOT, cluster, copied_sources, kubernetes, kubernetes_serve_config

BOTH = pytest.mark.parametrize("name", ["rayservice", "rayjob"])


@pytest.fixture(scope="module")
def service() -> ServiceParameters:
    """What the RayService deploys."""
    return ServiceParameters.model_validate(kubernetes_serve_config()["applications"][0]["args"])


@BOTH
def test_ray_and_the_image_have_our_versions(name: str) -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={cluster(name)['rayVersion']}" in pins
    groups = [cluster(name)["headGroupSpec"], *cluster(name)["workerGroupSpecs"]]
    images = {container["image"] for group in groups for container in group["template"]["spec"]["containers"]}
    assert images == {f"spanmill:{version('spanmill')}"}
    assert f"-t {images.pop()} ." in (INFRA / "Dockerfile").read_text()


def test_the_model_is_in_the_image(service: ServiceParameters) -> None:
    assert service.model.name == "minilm-qa", "found wherever the pod starts: it is part of the package"
    assert f"models/{service.model.name}" in copied_sources()


def test_pods_are_ready_with_the_model_and_end_after_the_requests(service: ServiceParameters) -> None:
    (group,) = cluster("rayservice")["workerGroupSpecs"]
    pod = group["template"]["spec"]
    (container,) = pod["containers"]
    (port,) = container["ports"]
    probe = container["readinessProbe"]["httpGet"]
    assert OPEN.fullmatch(probe["path"])
    assert (probe["port"], port["containerPort"]) == (port["name"], kubernetes_serve_config()["http_options"]["port"])
    assert pod["terminationGracePeriodSeconds"] > service.replicas.drain_seconds


def test_workers_have_the_keys(service: ServiceParameters) -> None:
    (group,) = cluster("rayservice")["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert service.keys.variable in {variable["name"] for variable in container["env"]}


def test_replicas_fit_their_pods(service: ServiceParameters) -> None:
    (group,) = cluster("rayservice")["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    cpus = float(container["resources"]["limits"]["cpu"])
    assert service.replicas.cpus + service.gateway.replicas * service.gateway.cpus <= cpus
    assert service.model.threads == cpus
    assert (group["minReplicas"], group["maxReplicas"]) == (service.replicas.min, service.replicas.max)


def test_the_job_is_a_command_that_the_command_line_takes() -> None:
    program, name, *words = shlex.split(kubernetes("rayjob")["entrypoint"])
    group: Any = typer.main.get_command(app)
    assert program == group.name
    parsed = group.commands[name].make_context(name, words).params
    config = load_config(AnswerConfig, parsed["config"], parsed["overrides"])
    assert config.poison_exit_code == 0, "a job that is done would be tried again"
    pool = config.pool
    (workers,) = cluster("rayjob")["workerGroupSpecs"]
    assert pool.size == workers["replicas"]
