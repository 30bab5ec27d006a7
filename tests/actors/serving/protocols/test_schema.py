from typing import Any

import pytest
from pydantic import ValidationError

from actors.serving.protocols.schema import Body, OneOrMany, example


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
