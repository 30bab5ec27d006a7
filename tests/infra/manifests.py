"""The files of infra/, read and rendered."""

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
KUBERAY = INFRA / "kuberay"
OVERLAYS = ("cpu", "gpu")

Manifest = dict[str, Any]


def serve_config() -> dict[str, Any]:
    """The Serve config file for any running cluster."""
    return _yaml(INFRA / "serve.yaml")


def kubernetes_serve_config(overlay: str) -> dict[str, Any]:
    """The Serve config that an overlay puts into the RayService."""
    return _yaml(KUBERAY / "overlays" / overlay / "service" / "serve.yaml")


def job_config(overlay: str) -> Path:
    """The config of the job in an overlay."""
    return KUBERAY / "overlays" / overlay / "job" / "job.yaml"


@lru_cache
def rendered(folder: str, *components: str, suffix: str = "") -> tuple[Manifest, ...]:
    """What `kubectl apply -k infra/kuberay/FOLDER` would send, with these components taken in.

    Skips the test where there is no kubectl.

    Args:
        suffix: what is put behind all names.
    """
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("kubectl, which renders the manifests, is not installed")
    with TemporaryDirectory() as made:
        # A folder of one's own that takes ours, as infra/README.md advises. Kustomize wants relative paths.
        ours = os.path.relpath(KUBERAY, Path(made).resolve())
        content = {
            "resources": [f"{ours}/{folder}"],
            "components": [f"{ours}/components/{component}" for component in components],
            "nameSuffix": suffix,
        }
        (Path(made) / "kustomization.yaml").write_text(yaml.safe_dump(content))
        done = subprocess.run((kubectl, "kustomize", made), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> Manifest:
    """The only manifest of a kind."""
    (found,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return found


def cluster(manifests: tuple[Manifest, ...]) -> Manifest:
    """The Ray cluster of a RayService or a RayJob."""
    for manifest in manifests:
        if manifest["kind"] in ("RayService", "RayJob"):
            found: Manifest = manifest["spec"].get("rayClusterConfig") or manifest["spec"]["rayClusterSpec"]
            return found
    raise LookupError("neither a RayService nor a RayJob")


def workers(manifests: tuple[Manifest, ...]) -> Manifest:
    """The only group of workers."""
    (group,) = cluster(manifests)["workerGroupSpecs"]
    found: Manifest = group
    return found


def pods(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """All pod templates, by their label `app.kubernetes.io/component`."""
    found = {}
    waiting: list[Any] = list(manifests)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "containers" in value.get("spec", {}):
                found[value["metadata"]["labels"]["app.kubernetes.io/component"]] = value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def container(pod: Manifest) -> Manifest:
    """The only container of a pod template."""
    (found,) = pod["spec"]["containers"]
    made: Manifest = found
    return made


def copied_sources() -> list[str]:
    """What the Dockerfile takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    return [source.rstrip("/") for line in lines for source in line.split()[:-1]]


def _yaml(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found
