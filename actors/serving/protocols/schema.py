"""What the bodies of all families are made of."""

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
        # An error for each of a million fields would take the memory of a gigabyte.
        if isinstance(data, dict) and len(data) > len(cls.model_fields) + _SURPLUS:
            raise PydanticCustomError("too_many_fields", f"{len(data)} fields are more than there are names for")
        return data


Many = Annotated[list[Item], Field(fail_fast=True)]
"""A list; of its items, the first that is wrong is told, and no more: there may be millions."""


def _arity(value: object) -> str:
    return "(many)" if isinstance(value, list | tuple) else "(one)"


OneOrMany = Annotated[Annotated[Item, Tag("(one)")] | Annotated[Many[Item], Tag("(many)")], Discriminator(_arity)]
"""An item or a list of them. Unlike a plain union, errors speak of the one that the client meant; tags of unions stand
in brackets, and the gateway leaves them out where it names a field."""


def listed(inputs: Item | list[Item]) -> list[Item]:
    """One item as a list of it."""
    return inputs if isinstance(inputs, list) else [inputs]


def as_json(content: object) -> Response:
    """A response of JSON; arrays become lists without a Python object for each number."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def example(content: object) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route whose success looks like this JSON."""
    return {200: {"content": {"application/json": {"example": content}}}}
