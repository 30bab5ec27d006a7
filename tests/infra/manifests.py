"""The files of infra/, read."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"


def serve_config() -> dict[str, Any]:
    """The Serve config file for any running cluster."""
    return _yaml(INFRA / "serve.yaml")


def kubernetes_serve_config() -> dict[str, Any]:
    """The Serve config inside the RayService."""
    found: dict[str, Any] = yaml.safe_load(kubernetes("rayservice")["serveConfigV2"])
    return found


def kubernetes(name: str) -> dict[str, Any]:
    """The `spec` of a manifest."""
    spec: dict[str, Any] = _yaml(INFRA / "kuberay" / f"{name}.yaml")["spec"]
    return spec


def cluster(name: str) -> dict[str, Any]:
    """The Ray cluster in a manifest."""
    spec = kubernetes(name)
    found: dict[str, Any] = spec.get("rayClusterConfig") or spec["rayClusterSpec"]
    return found


def copied_sources() -> list[str]:
    """What the Dockerfile takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    return [source.rstrip("/") for line in lines for source in line.split()[:-1]]


def _yaml(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found
