"""From the values that pydantic found wrong to a refusal that names their fields."""

from collections.abc import Iterable, Sequence
from typing import Any

from actors.serving.types import Refusal

_SHOWN = 3


def invalid(errors: Iterable[tuple[Sequence[object], Any]]) -> Refusal:
    """The refusal of values that pydantic found wrong.

    Args:
        errors: where each of them stands in what the client sent, and pydantic's description of it.
    """
    named = [(_field(place), _problem(error)) for place, error in errors]
    said = list(dict.fromkeys(f"{field or 'the body'}: {problem}" for field, problem in named))
    more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return Refusal(422, "invalid", "; ".join(said[:_SHOWN]) + more, field=named[0][0] or None)


def _field(place: Sequence[object]) -> str:
    # Tags of unions stand in brackets.
    return ".".join(step for step in map(str, place) if not step.startswith("("))[:200]


def _problem(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such field here"
    if error["type"] in ("model_attributes_type", "model_type"):
        return "input should be an object with fields"
    message: str = error["msg"]
    return message[0].lower() + message[1:]
