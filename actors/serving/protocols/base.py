"""A family of routes: one protocol that clients speak."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter

from actors.serving.types import Refusal


@dataclass(frozen=True)
class Family:
    """Routes, and how their protocol says no."""

    name: str
    """In metrics and in the OpenAPI document."""
    router: APIRouter
    shape: Callable[[Refusal], Mapping[str, object]]
    """The JSON body of a refusal."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """HTTP statuses of refusals by their reason, where the protocol has others than the refusals themselves."""
