"""What the bodies of all families are made of."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

Item = TypeVar("Item")


class Body(BaseModel):
    """Base of everything that a client sends: a field it does not know is an error, and "1" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def _arity(value: object) -> str:
    return "(many)" if isinstance(value, list | tuple) else "(one)"


OneOrMany = Annotated[Annotated[Item, Tag("(one)")] | Annotated[list[Item], Tag("(many)")], Discriminator(_arity)]
"""An item or a list of them. Unlike a plain union, errors speak of the one that the client meant; tags of unions stand
in brackets, and the gateway leaves them out where it names a field."""
