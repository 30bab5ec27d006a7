"""What the request bodies of the protocols share: base class, lists, question-answering fields; JSON for replies."""

from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

Item = TypeVar("Item")

_SURPLUS = 16


class Body(BaseModel):
    """Base of everything that a client sends: a field it does not know is an error, and "1" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, data: object) -> object:
        # Errors for a million unknown fields would take a gigabyte of memory.
        if isinstance(data, dict) and len(data) > len(cls.model_fields) + _SURPLUS:
            raise PydanticCustomError("too_many_fields", f"{len(data)} fields are more than there are names for")
        return data


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


def listed(inputs: Item | list[Item]) -> list[Item]:
    """The items of a `OneOrMany` as a list."""
    return inputs if isinstance(inputs, list) else [inputs]


def as_json(content: object) -> Response:
    """A JSON response; NumPy arrays become lists without a Python object for each number."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def example(content: object) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route, with this JSON as the example of a success."""
    return {200: {"content": {"application/json": {"example": content}}}}
