"""What the request bodies of the protocols share: base class, lists, question-answering fields.

The bundles of `spanmill bundle` read bodies by it too, where there is no FastAPI.
"""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

Item = TypeVar("Item")

_SURPLUS = 16


class Body(BaseModel):
    """Base of everything that a client sends: a field it does not know is an error, and "1" is no number.

    Null for a field that has a default means the default: clients send null for what their users left out.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: object) -> object:
        """The fields that say something: those with a default, and null for a value, are left out."""
        if not isinstance(data, dict):
            return data
        # Errors for a million unknown fields would take a gigabyte of memory.
        if len(data) > len(cls.model_fields) + _SURPLUS:
            raise PydanticCustomError("too_many_fields", f"{len(data)} fields are more than there are names for")
        return {name: value for name, value in data.items() if value is not None or not cls._has_default(name)}

    @classmethod
    def _has_default(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        return field is not None and not field.is_required()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Says of every field with a default that it may be null."""
        document = handler.resolve_ref_schema(handler(schema))
        for name, field in document.get("properties", {}).items():
            if cls._has_default(name) and not _takes_null(field):
                _allow_null(field)
        return document


Many = Annotated[list[Item], Field(fail_fast=True)]
"""A list. Only its first wrong item is reported: there may be millions."""


def _arity(value: object) -> str:
    return "(many)" if isinstance(value, list | tuple) else "(one)"


OneOrMany = Annotated[Annotated[Item, Tag("(one)")] | Annotated[Many[Item], Tag("(many)")], Discriminator(_arity)]
"""An item or a list of items. Unlike those of a plain union, its errors are about the one that the client sent. Tags of
unions are in brackets, by which `errors.invalid` knows to leave them out of the names of fields."""


class Pair(Body):
    """A question and the passage that may answer it."""

    question: str
    context: str


class PipelineParameters(Body):
    """How to answer. What is left out or null is the service's default."""

    top_k: int | None = None
    """Answers per question; with more than one, each question gets a list, best first."""
    max_answer_len: int | None = None
    """Longest answer in tokens."""
    max_seq_len: int | None = None
    """Longest window in tokens, question and special tokens included; longer passages are cut into several."""
    doc_stride: int | None = None
    """Tokens that neighbouring windows of a passage share."""
    max_question_len: int | None = None
    """Questions are cut to this many tokens."""
    handle_impossible_answer: bool | None = None
    """Let the model abstain."""
    align_to_words: bool | None = None
    """Widen an answer to whole words. Turn it off for languages written without blanks."""


def _takes_null(field: JsonSchemaValue) -> bool:
    return field.get("type") == "null" or {"type": "null"} in field.get("anyOf", ())


def _allow_null(field: JsonSchemaValue) -> None:
    """Changes the schema of a field so that null fits too; what is said about the field stays beside it."""
    said = {key: field.pop(key) for key in ("title", "description", "default", "examples") if key in field}
    kinds = field.pop("anyOf", None) or [dict(field)]
    field.clear()
    field.update(said | {"anyOf": [*kinds, {"type": "null"}]})


def listed(inputs: Item | list[Item]) -> list[Item]:
    """The items of a `OneOrMany` as a list."""
    return inputs if isinstance(inputs, list) else [inputs]
