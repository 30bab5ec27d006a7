"""Schemas of Kubernetes' own kinds, and of those that operators add.

The former are in the package kubernetes-validate. The latter are the operators' CustomResourceDefinitions, which `make
test-more` clones into build/crds.
"""

from functools import lru_cache
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.infra.manifests import ROOT, Manifest

KUBERNETES = "1.33"
CRDS = ROOT / "build" / "crds"
_FOLDERS = (
    "kuberay/ray-operator/config/crd/bases",
    "operator/example/prometheus-operator-crd",
)


def errors(manifest: Manifest) -> list[str]:
    """What is wrong with a manifest, keys that nobody knows included. Skips the test where the schema is missing."""
    if "." in manifest["apiVersion"].partition("/")[0] and not manifest["apiVersion"].split("/")[0].endswith(".k8s.io"):
        return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in _custom(manifest)]
    validate: Any = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    try:
        validate.validate(manifest, KUBERNETES, strict=True)
    except validate.ValidationError as error:
        return [str(error)]
    return []


def _custom(manifest: Manifest) -> list[jsonschema_rs.ValidationError]:
    key = (manifest["apiVersion"], manifest["kind"])
    if key not in (schemas := _schemas()):
        pytest.skip(
            f"the CustomResourceDefinition of {key[1]} is not in build/crds; `make build/crds/installed` clones it"
        )
    return list(jsonschema_rs.validator_for(schemas[key]).iter_errors(manifest))


@lru_cache
def _schemas() -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for path in (path for folder in _FOLDERS for path in sorted((CRDS / folder).glob("*.yaml"))):
        definition = yaml.load(path.read_text(), yaml.CSafeLoader)
        if definition and definition["kind"] == "CustomResourceDefinition":
            spec = definition["spec"]
            for one in spec["versions"]:
                key = (f"{spec['group']}/{one['name']}", spec["names"]["kind"])
                found[key] = _closed(one["schema"]["openAPIV3Schema"])
    return found


def _closed(schema: Any) -> Any:
    """The schema, but that an object may have no other keys than those it names: Kubernetes drops these silently."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    open_by_itself = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    # A property may be called "properties" as well: then its schema is no map of schemas with a type beside it.
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not open_by_itself:
        closed["additionalProperties"] = False
    return closed
