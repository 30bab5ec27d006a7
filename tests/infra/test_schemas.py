"""The rendered manifests are what Kubernetes and its operators take."""

from copy import deepcopy

import pytest

from tests.infra.manifests import OVERLAYS, Manifest, of_kind, rendered
from tests.infra.schemas import errors

pytestmark = pytest.mark.more

ALL = ("redis", "model-cache", "ingress", "monitoring")
DEPLOYED = [
    ("shared-job", ()),
    *((f"overlays/{one}/service", components) for one in OVERLAYS for components in ((), ALL)),
    *((f"overlays/{one}/job", components) for one in OVERLAYS for components in ((), ("kueue", "model-cache"))),
]
KINDS = ["RayService", "RayJob", "PodMonitor", "PrometheusRule", "Kubernetes' own"]


def _own(manifest: Manifest) -> bool:
    return manifest["kind"] not in KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_manifest_is_valid(kind: str) -> None:
    seen = 0
    for folder, components in DEPLOYED:
        for manifest in rendered(folder, *components):
            if manifest["kind"] == kind or (kind == KINDS[-1] and _own(manifest)):
                assert errors(manifest) == [], f"{folder} {components} {manifest['kind']}"
                seen += 1
    assert seen


def test_a_key_that_kuberay_does_not_know_is_found() -> None:
    service = deepcopy(of_kind(rendered("overlays/cpu/service"), "RayService"))
    [group] = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    group["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    group["minReplicas"] = "two"
    found = errors(service)
    assert len(found) == 2
    assert any("livenesProbe" in error for error in found)


def test_a_key_that_kubernetes_does_not_know_is_found() -> None:
    budget = deepcopy(of_kind(rendered("overlays/cpu/service"), "PodDisruptionBudget"))
    budget["spec"]["minAvailible"] = 1
    [error] = errors(budget)
    assert "minAvailible" in error
