"""Schemas of Kubernetes' own kinds, and of those that operators add.

The former are in the package kubernetes-validate. The latter are the operators' CustomResourceDefinitions, which `make
test-more` clones into build/crds.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.infra.manifests import ROOT, Manifest

KUBERNETES = "1.33"
CRDS = ROOT / "build" / "crds"


def errors(manifest: Manifest) -> list[str]:
    """What is wrong with a manifest, keys that nobody knows included. Skips the test where the schema is missing."""
    group = manifest["apiVersion"].partition("/")[0]
    if "." in group and not group.endswith(".k8s.io"):
        return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in _custom(manifest)]
    validate: Any = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    try:
        validate.validate(manifest, KUBERNETES, strict=True)
    except validate.ValidationError as error:
        return [str(error)]
    return []


def _custom(manifest: Manifest) -> Iterator[jsonschema_rs.ValidationError]:
    group, _, version = manifest["apiVersion"].partition("/")
    return jsonschema_rs.validator_for(_schema(group, version, manifest["kind"])).iter_errors(manifest)


@lru_cache
def _schema(group: str, version: str, kind: str) -> dict[str, Any]:
    name = f"{group}_{kind.lower()}s.yaml"
    if (path := next(CRDS.rglob(name), None)) is None:
        pytest.skip(f"{name}, the definition of {kind}, is not in build/crds; `make build/crds/installed` clones it")
    definition = yaml.load(path.read_text(), yaml.CSafeLoader)
    [schema] = [one["schema"] for one in definition["spec"]["versions"] if one["name"] == version]
    closed: dict[str, Any] = _closed(schema["openAPIV3Schema"])
    return closed


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
