"""A family of routes: one protocol that clients speak."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter

from actors.serving.requests import Refusal


@dataclass(frozen=True)
class Family:
    """Routes, and how their protocol says no."""

    name: str
    """In metrics and in the OpenAPI document."""
    router: APIRouter
    shape: Callable[[Refusal], Mapping[str, object]]
    """The JSON body of a refusal; its status is the refusal's own."""
