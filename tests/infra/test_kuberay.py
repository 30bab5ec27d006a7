"""What the Kubernetes manifests say of the code, the image and each other is true."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from actors.serving.gateway.middleware.auth import OPEN
from actors.serving.parameters import ServiceParameters
from pipelines.cli.main import app
from pipelines.cli.options import job_overrides
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from tests.infra.manifests import (
    INFRA,
    KUBERAY,
    OVERLAYS,
    ROOT,
    Manifest,
    cluster,
    container,
    copied_sources,
    job_config,
    kubernetes_serve_config,
    of_kind,
    pods,
    rendered,
    workers,
)

OVERLAY = pytest.mark.parametrize("overlay", OVERLAYS)
FOLDER = pytest.mark.parametrize(
    "folder", [f"overlays/{one}/{what}" for one in OVERLAYS for what in ("service", "job")]
)
_MARGIN = 15
"""Seconds that a pod has to end after it was drained."""
_RAY_SETTINGS = ("RAY_idle_worker_killing_time_threshold_ms", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")


def service_of(overlay: str) -> ServiceParameters:
    """What the RayService deploys."""
    config = yaml.safe_load(of_kind(rendered(f"overlays/{overlay}/service"), "RayService")["spec"]["serveConfigV2"])
    assert config == kubernetes_serve_config(overlay)
    return ServiceParameters.model_validate(config["applications"][0]["args"])


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The name of our command and its parameters, as the command line takes them. Raises click's errors."""
    program, name, *rest = words
    group: Any = typer.main.get_command(app)
    assert program == group.name
    return name, group.commands[name].make_context(name, rest).params


def everything() -> dict[str, Manifest]:
    """Pod templates of all that can be deployed, by folder and component."""
    folders = [*(f"overlays/{one}/{what}" for one in OVERLAYS for what in ("service", "job")), "shared-job"]
    found = {f"{folder} {name}": pod for folder in folders for name, pod in pods(rendered(folder)).items()}
    return found | {
        f"redis {name}": pod for name, pod in pods(rendered("overlays/cpu/service", "redis")).items() if name == "redis"
    }


@FOLDER
def test_ray_and_the_image_have_our_versions(folder: str) -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    manifests = rendered(folder)
    assert f"ray=={cluster(manifests)['rayVersion']}" in pins
    built = f"spanmill:{version('spanmill')}"
    assert {container(pod)["image"] for pod in pods(manifests).values()} == {
        built if "cpu" in folder else f"{built}-cuda"
    }
    assert f"-t {built} ." in (INFRA / "Dockerfile").read_text()


@OVERLAY
def test_the_model_is_in_the_image(overlay: str) -> None:
    service = service_of(overlay)
    assert service.model.name == "minilm-qa", "found wherever the pod starts: it is part of the package"
    assert f"models/{service.model.name}" in copied_sources()


@OVERLAY
def test_pods_are_ready_with_the_model(overlay: str) -> None:
    one = container(pods(rendered(f"overlays/{overlay}/service"))["service-worker"])
    probe = one["readinessProbe"]["httpGet"]
    assert OPEN.fullmatch(probe["path"])
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    assert ports[probe["port"]] == kubernetes_serve_config(overlay)["http_options"]["port"]


@FOLDER
def test_workers_are_drained_before_they_end_and_have_the_time_for_it(folder: str) -> None:
    manifests = rendered(folder)
    spec = workers(manifests)["template"]["spec"]
    name, words = parsed(container({"spec": spec})["lifecycle"]["preStop"]["exec"]["command"])
    assert name == "drain"
    assert spec["terminationGracePeriodSeconds"] >= words["seconds"] + _MARGIN
    if "service" in folder:
        service = service_of(folder.split("/")[1])
        longest = service.limits.timeout_ms / 1000
        assert service.replicas.drain_seconds >= longest, "a replica that goes finishes what it has"
        assert words["seconds"] > longest + _MARGIN, "others start before those that are there stop"


@OVERLAY
def test_workers_have_the_keys_and_the_head_has_not(overlay: str) -> None:
    found = pods(rendered(f"overlays/{overlay}/service"))
    secrets = {
        name: {source["secretRef"]["name"] for source in container(pod)["envFrom"]} for name, pod in found.items()
    }
    assert secrets["service-worker"] - secrets["service-head"] == {"spanmill-keys"}
    variable = service_of(overlay).keys.variable
    assert f"--from-literal={variable}=" in (INFRA / "README.md").read_text(), "the Secret's keys become variables"


@OVERLAY
def test_replicas_fit_their_pods(overlay: str) -> None:
    service = service_of(overlay)
    group = workers(rendered(f"overlays/{overlay}/service"))
    limits = container(group["template"])["resources"]["limits"]
    assert service.replicas.cpus + service.gateway.replicas * service.gateway.cpus <= float(limits["cpu"])
    assert service.replicas.gpus == float(limits.get("nvidia.com/gpu", 0))
    assert service.model.threads == float(limits["cpu"])
    assert (group["minReplicas"], group["maxReplicas"]) == (service.replicas.min, service.replicas.max)


@OVERLAY
def test_the_job_is_a_command_that_the_command_line_takes(overlay: str) -> None:
    manifests = rendered(f"overlays/{overlay}/job")
    name, words = parsed(shlex.split(of_kind(manifests, "RayJob")["spec"]["entrypoint"]))
    assert name == "answer"
    folder, file = os.path.split(words["config"])
    head = pods(manifests)["job-head"]
    [mount] = [mount for mount in container(head)["volumeMounts"] if mount["mountPath"] == folder]
    [volume] = [volume for volume in head["spec"]["volumes"] if volume["name"] == mount["name"]]
    mounted = of_kind(manifests, "ConfigMap")
    assert volume["configMap"]["name"] == mounted["metadata"]["name"]
    assert mounted["data"][file] == job_config(overlay).read_text()

    config = load_config(AnswerConfig, job_config(overlay), words["overrides"])
    assert config.poison_exit_code == 0, "a job that is done would be tried again"
    group = workers(manifests)
    limits = container(group["template"])["resources"]["limits"]
    assert config.pool.size == group["replicas"]
    assert config.pool.cpus is not None
    assert config.pool.cpus <= float(limits["cpu"])
    assert (config.pool.gpus or 0) == float(limits.get("nvidia.com/gpu", 0))


def test_a_second_job_beside_the_first_has_names_and_a_config_of_its_own() -> None:
    manifests = rendered("overlays/cpu/job", suffix="-monday")
    assert of_kind(manifests, "RayJob")["metadata"]["name"] == "spanmill-answer-monday"
    [config] = [
        volume["configMap"] for volume in pods(manifests)["job-head"]["spec"]["volumes"] if "configMap" in volume
    ]
    assert config["name"] == of_kind(manifests, "ConfigMap")["metadata"]["name"]
    first = of_kind(rendered("overlays/cpu/job"), "ConfigMap")
    assert config["name"] != first["metadata"]["name"]


def test_a_job_on_the_replicas_of_the_service_goes_to_its_head_with_its_token() -> None:
    job = of_kind(rendered("shared-job"), "Job")
    one = container(job["spec"]["template"])
    service = of_kind(rendered("overlays/cpu/service"), "RayService")
    assert one["command"] == [
        *("ray", "job", "submit", "--address", f"http://{service['metadata']['name']}-head-svc:8265", "--")
    ]
    name, words = parsed(one["args"])
    assert name == "answer"
    given = job_overrides(words["overrides"], words["model"], words["max_quarantined"], words["pool"])
    config = load_config(AnswerConfig, words["config"], given)
    assert config.pool.kind == "serve"
    assert config.pool.application == kubernetes_serve_config("cpu")["applications"][0]["name"]
    assert config.poison_exit_code == 0
    [token] = [variable["valueFrom"]["secretKeyRef"] for variable in one["env"] if variable["name"] == "RAY_AUTH_TOKEN"]
    assert token["name"] == service["spec"]["rayClusterConfig"]["authOptions"]["secretName"]


@FOLDER
def test_ray_asks_everybody_for_a_token(folder: str) -> None:
    assert cluster(rendered(folder))["authOptions"]["mode"] == "token"


@FOLDER
def test_ray_has_the_settings_that_it_has_where_we_start_it(folder: str) -> None:
    code = f"import os, pipelines.job.ray_cluster; print(*(os.environ[name] for name in {_RAY_SETTINGS}))"
    env = {name: value for name, value in os.environ.items() if name not in _RAY_SETTINGS}
    done = subprocess.run((sys.executable, "-c", code), env=env, capture_output=True, text=True, check=True)
    wanted = dict(zip(_RAY_SETTINGS, done.stdout.split(), strict=True))
    for name, pod in pods(rendered(folder)).items():
        if name != "job-submitter":
            variables = {variable["name"]: variable["value"] for variable in container(pod)["env"]}
            assert {name: variables[name] for name in _RAY_SETTINGS} == wanted


def test_pods_have_no_rights_and_write_only_to_their_volumes() -> None:
    for name, pod in everything().items():
        spec, one = pod["spec"], container(pod)
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert spec.get("automountServiceAccountToken") is False or name.endswith("service-head"), (
            f"{name}: only the autoscaler speaks with Kubernetes"
        )
        volumes = {volume["name"] for volume in spec.get("volumes", ())} | ({"data"} if "redis" in name else set())
        assert {mount["name"] for mount in one["volumeMounts"]} == volumes, name
        resources = one["resources"]
        assert set(resources["requests"]) == set(resources["limits"]) >= {"cpu", "memory"}, name


@FOLDER
def test_caches_lie_on_the_volume_for_them(folder: str) -> None:
    for name, pod in pods(rendered(folder)).items():
        if name != "job-submitter":
            variables = {variable["name"]: variable["value"] for variable in container(pod)["env"]}
            mounts = {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
            assert variables["XDG_CACHE_HOME"] in mounts
            assert any(variables["HF_HOME"].startswith(f"{mount}/") for mount in mounts)


def test_policies_and_budgets_select_pods_that_there_are() -> None:
    manifests = rendered("overlays/cpu/service", "redis", "ingress", "monitoring") + rendered("overlays/cpu/job")
    components = {name.split()[-1] for name in everything()}
    selected = set()
    for manifest in manifests:
        if manifest["kind"] == "NetworkPolicy":
            selected |= _components(manifest["spec"]["podSelector"]) or components
            for rule in manifest["spec"]["ingress"]:
                for peer in rule["from"]:
                    assert _components(peer.get("podSelector", {})) <= components
    # Who only submits opens no port.
    assert selected >= components - {"job-submitter", "shared-job"}
    budget = of_kind(manifests, "PodDisruptionBudget")["spec"]
    assert _components(budget["selector"]) == {"service-worker"}
    assert budget["minAvailable"] < workers(rendered("overlays/cpu/service"))["minReplicas"], "no node could be drained"
    assert "maxUnavailable" not in budget, "Kubernetes cannot ask a RayCluster for its scale"


def _components(selector: dict[str, Any]) -> set[str]:
    labels = selector.get("matchLabels", {})
    if "app.kubernetes.io/component" in labels:
        return {labels["app.kubernetes.io/component"]}
    return {
        value
        for expression in selector.get("matchExpressions", ())
        if expression["key"] == "app.kubernetes.io/component"
        for value in expression["values"]
    }


def test_the_readme_names_the_image_for_all_that_is_deployed(tmp_path: Path) -> None:
    [words] = re.findall(r"^ +(sed --in-place .+)$", (INFRA / "README.md").read_text(), re.MULTILINE)
    mine = tmp_path / "infra" / "kuberay" / "overlays" / "mine"
    shutil.copytree(KUBERAY / "overlays" / "cpu", mine)
    shutil.copytree(KUBERAY / "shared-job", mine / "shared-job")
    subprocess.run(words, shell=True, cwd=tmp_path, check=True)
    files = list(mine.glob("*/kustomization.yaml"))
    assert len(files) == 3
    for file in files:
        [image] = yaml.safe_load(file.read_text())["images"]
        assert image["newName"] == "registry.example.org/spanmill", file


@FOLDER
def test_workers_spread_over_machines(folder: str) -> None:
    template = workers(rendered(folder))["template"]
    spreads = template["spec"]["topologySpreadConstraints"]
    assert "kubernetes.io/hostname" in {spread["topologyKey"] for spread in spreads}
    for spread in spreads:
        assert spread["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("what", ["service", "job"])
def test_pods_with_gpus_go_where_gpus_are(what: str) -> None:
    spec = workers(rendered(f"overlays/gpu/{what}"))["template"]["spec"]
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["nvidia.com/gpu"]
    assert "nodeSelector" not in workers(rendered(f"overlays/cpu/{what}"))["template"]["spec"]


@OVERLAY
def test_with_redis_a_new_head_finds_the_state_of_the_old_one(overlay: str) -> None:
    manifests = rendered(f"overlays/{overlay}/service", "redis")
    options = cluster(manifests)["gcsFaultToleranceOptions"]
    [service] = [one for one in manifests if one["kind"] == "Service"]
    assert options["redisAddress"] == f"redis://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    stateful = of_kind(manifests, "StatefulSet")
    [password] = container(stateful["spec"]["template"])["env"]
    assert options["redisPassword"]["valueFrom"] == password["valueFrom"]
    assert service["spec"]["selector"] == stateful["spec"]["template"]["metadata"]["labels"]
    assert "gcsFaultToleranceOptions" not in cluster(rendered(f"overlays/{overlay}/service"))


@FOLDER
def test_with_the_model_cache_all_pods_share_one_volume(folder: str) -> None:
    manifests = rendered(folder, "model-cache")
    claim = of_kind(manifests, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name, pod in pods(manifests).items():
        if name != "job-submitter":
            [cache] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "cache"]
            assert cache["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@OVERLAY
def test_with_kueue_the_job_waits_in_a_queue(overlay: str) -> None:
    job = of_kind(rendered(f"overlays/{overlay}/job", "kueue"), "RayJob")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "spanmill"
    # What Kueue wants of a RayJob.
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert "clusterSelector" not in job["spec"]
    assert not job["spec"]["rayClusterSpec"].get("enableInTreeAutoscaling")


def test_the_ingress_takes_what_the_service_takes_and_waits_as_long() -> None:
    ingress = of_kind(rendered("overlays/cpu/service", "ingress"), "Ingress")
    said = {key.rpartition("/")[2]: value for key, value in ingress["metadata"]["annotations"].items()}
    limits = service_of("cpu").limits
    assert said["proxy-body-size"] == f"{limits.max_request_bytes >> 20}m"
    assert float(said["proxy-read-timeout"]) > limits.timeout_ms / 1000
    [rule] = ingress["spec"]["rules"]
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    name = of_kind(rendered("overlays/cpu/service"), "RayService")["metadata"]["name"]
    port = kubernetes_serve_config("cpu")["http_options"]["port"]
    assert backend == {"name": f"{name}-serve-svc", "port": {"number": port}}


def test_the_monitor_asks_a_port_that_pods_have() -> None:
    [endpoint] = of_kind(rendered("overlays/cpu/service", "monitoring"), "PodMonitor")["spec"]["podMetricsEndpoints"]
    for folder in ("overlays/cpu/service", "overlays/cpu/job"):
        for name, pod in pods(rendered(folder)).items():
            if name != "job-submitter":
                assert endpoint["port"] in {port["name"] for port in container(pod)["ports"]}
