"""What schemathesis makes up from the OpenAPI document never gets a 5xx."""

from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error

MADE_UP = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_made_up_is_a_server_error(server: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{server}/openapi.json")
    results: list[Any] = list(document.get_all_operations())
    operations = [result.ok() for result in results]
    assert {"POST /", "POST /answer", "POST /v1/embeddings", "POST /embed"} <= {one.label for one in operations}
    for operation in operations:
        # Nothing but a body can be wrong.
        if mode is GenerationMode.POSITIVE or operation.body:
            _check(operation, mode)


def _check(operation: Any, mode: GenerationMode) -> None:
    model = {"model": "minilm-qa"} if operation.path_parameters else {}

    @MADE_UP
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=model))
    def check(case: Case[Any]) -> None:
        case.call_and_validate(checks=[not_a_server_error], timeout=120)

    check()


def test_null_for_whatever_has_a_default_is_the_default(server: str) -> None:
    """In every object of every body of every route; `test_schema` has the fields one by one."""
    with httpx2.Client(base_url=server) as client:
        document = client.get("/openapi.json").json()
        for path, operations in document["paths"].items():
            if "post" not in operations:
                continue
            asked = operations["post"]["requestBody"]["content"]["application/json"]
            schema, url = asked["schema"], path.replace("{model}", "minilm-qa")
            for body in _examples(document, asked):
                variants = list(_with_nulls(document, schema, body))
                assert variants
                for variant in variants:
                    got = client.post(url, json=variant)
                    assert got.status_code == 200, (path, variant, got.text)
                    without = client.post(url, json=_without_nulls(variant))
                    assert _rounded(got.json()) == _rounded(without.json()), (path, variant)


def _examples(document: Any, asked: Any) -> list[Any]:
    if "examples" in asked:
        return [one["value"] for one in asked["examples"].values()]
    schema = asked["schema"]
    examples: list[Any] = schema["examples"] if "examples" in schema else _resolved(document, schema)["examples"]
    return examples


def _resolved(document: Any, schema: Any) -> Any:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _kinds(document: Any, schema: Any) -> Iterator[Any]:
    """The schema, or those that it is a choice of."""
    schema = _resolved(document, schema)
    choices = schema.get("anyOf", []) + schema.get("oneOf", [])
    for choice in choices:
        yield from _kinds(document, choice)
    if not choices:
        yield schema


def _with_nulls(document: Any, schema: Any, body: Any) -> Iterator[Any]:
    """The body with null for all that may be left out, for each of its objects; those that it lacks are tried as {}."""
    for kind in _kinds(document, schema):
        if not jsonschema_rs.is_valid(kind | {"components": document["components"]}, body):
            continue
        if "properties" in kind:
            properties = kind["properties"]
            yield body | dict.fromkeys(set(properties) - set(kind.get("required", ())))
            for name in sorted(properties):
                yield from ({**body, name: one} for one in _with_nulls(document, properties[name], body.get(name, {})))
        elif isinstance(body, list) and body:
            yield from ([one, *body[1:]] for one in _with_nulls(document, kind["items"], body[0]))


def _without_nulls(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: _without_nulls(value) for name, value in body.items() if value is not None}
    return [_without_nulls(value) for value in body] if isinstance(body, list) else body


def _rounded(content: Any) -> Any:
    """Without what differs from one request to the next: times, and the last digits of what shared a pass."""
    if isinstance(content, dict):
        return {name: _rounded(value) for name, value in content.items() if name != "timing_ms"}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return round(content, 3) if isinstance(content, float) else content
