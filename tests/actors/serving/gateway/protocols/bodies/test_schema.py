import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from actors.serving.gateway.app import PROTOCOLS
from actors.serving.gateway.protocols.bodies.replies import example
from actors.serving.gateway.protocols.bodies.schema import Body, OneOrMany


class Inner(Body):
    """A part of a body."""

    number: int


class Outer(Body):
    """A body."""

    inputs: OneOrMany[Inner]
    """One or many."""


def _errors(body: Any) -> list[tuple[Any, ...]]:
    with pytest.raises(ValidationError) as wrong:
        Outer.model_validate(body)
    return [(error["loc"], error["type"]) for error in wrong.value.errors()]


def test_one_and_many_are_what_they_were_sent_as() -> None:
    assert Outer.model_validate({"inputs": {"number": 1}}).inputs == Inner(number=1)
    assert Outer.model_validate({"inputs": [{"number": 1}, {"number": 2}]}).inputs == [Inner(number=1), Inner(number=2)]
    assert Outer.model_validate({"inputs": []}).inputs == []


def test_errors_speak_of_what_was_meant() -> None:
    assert _errors({"inputs": {"number": "1"}}) == [(("inputs", "(one)", "number"), "int_type")]
    assert _errors({"inputs": [{"number": 1}, {}]}) == [(("inputs", "(many)", 1, "number"), "missing")]
    assert _errors({"inputs": 1}) == [(("inputs", "(one)"), "model_type")]


def test_a_million_errors_are_one() -> None:
    assert _errors({"inputs": [{}] * 1000}) == [(("inputs", "(many)", 0, "number"), "missing")]
    surplus = {str(name): name for name in range(1000)}
    assert _errors({"inputs": {"number": 1}} | surplus) == [((), "too_many_fields")]
    assert len(_errors({"inputs": {"number": 1}, "a": 1, "b": 2})) == 2


def test_the_document_knows_both_and_what_they_mean() -> None:
    schema = Outer.model_json_schema()
    inputs = schema["properties"]["inputs"]
    assert inputs["description"] == "One or many."
    assert [one.get("type", "object") for one in inputs["oneOf"]] == ["object", "array"]
    assert schema["additionalProperties"] is False


def test_an_example_is_that_of_success() -> None:
    assert example([1])[200]["content"]["application/json"]["example"] == [1]


def _bodies(kind: type[Body] = Body) -> Iterator[type[Body]]:
    """Those of all protocols, which `PROTOCOLS` has imported."""
    for one in kind.__subclasses__():
        if one.__module__.startswith("actors."):
            yield one
        yield from _bodies(one)


def test_null_is_the_default_of_every_field_that_has_one_and_the_document_says_so() -> None:
    assert PROTOCOLS
    fields = [(body, name, field) for body in _bodies() for name, field in body.model_fields.items()]
    assert len(fields) > 40
    for body, name, field in fields:
        assert (name in _wrong_fields(body, {name: None})) == field.is_required(), (body, name)
        if not field.is_required():
            assert '"null"' in json.dumps(body.model_json_schema()["properties"][name]), (body, name)


def test_null_for_a_field_that_nobody_knows_is_still_an_error() -> None:
    assert _errors({"inputs": [], "input": None}) == [(("input",), "extra_forbidden")]


def _wrong_fields(body: type[Body], content: Any) -> set[Any]:
    with pytest.raises(ValidationError) as wrong:
        body.model_validate(content | {"of no body": 1})
    return {error["loc"][0] for error in wrong.value.errors()}
