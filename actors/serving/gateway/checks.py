"""What a request is held to, whoever brings it: valid parameters, and texts within the limits."""

from typing import Any, TypeVar

from pydantic import ValidationError

from actors.parameters import Settings
from actors.serving.invalid import invalid
from actors.serving.parameters import LimitParameters
from actors.serving.types import Refusal, Refused, Request

Parameters = TypeVar("Parameters", bound=Settings)


def with_parameters(defaults: Parameters, *place: str, **changes: Any) -> Parameters:
    """The parameters with the changes of a request; changes that are None are left out.

    Args:
        place: names of the fields in which the changes stand, outermost first, for the message.

    Raises:
        Refused: a value is not valid.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return type(defaults).model_validate(defaults.model_dump() | given)
    except ValidationError as error:
        raise Refused(invalid([((*place, *e["loc"]), e) for e in error.errors()])) from error


def check_inputs(request: Request, limits: LimitParameters) -> None:
    """Raises Refused where a request has no inputs, too many or too long ones, or blank or invalid text."""
    rows = len(request.texts)
    if not rows:
        raise Refused(Refusal(422, "no_inputs", "there are no inputs; send one at least"))
    if rows > limits.max_inputs:
        raise Refused(
            Refusal(413, "too_many_inputs", f"{rows} inputs are more than {limits.max_inputs}; send them in parts")
        )
    total = 0
    for name, texts in (("question", request.questions), ("text", request.texts)):
        for row, text in enumerate(texts):
            total += _size(name, row, text, limits.max_text_bytes)
            # A passage that many questions share is sent once, but is computed once for each question.
            if total > limits.max_request_bytes:
                most = limits.max_request_bytes
                message = f"the inputs add up to more than {most} bytes, each with its own text; send them in parts"
                raise Refused(Refusal(413, "too_large", message))


def _size(name: str, row: int, text: str, most: int) -> int:
    if not text.strip():
        raise Refused(Refusal(422, "empty", f"the {name} of input {row} is empty; leave the input out"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise Refused(
            Refusal(422, "not_text", f"the {name} of input {row} holds half of a surrogate pair; send valid Unicode")
        ) from error
    if size > most:
        raise Refused(
            Refusal(413, "text_too_long", f"the {name} of input {row} has {size} bytes, more than {most}; cut it")
        )
    return size


def check_dimensions(
    wanted: int, width: int, model: str, status: int = 422, reason: str = "invalid", field: str = "dimensions"
) -> None:
    """Raises Refused where a client wants embeddings of a width that the model's cannot be cut to.

    Args:
        wanted: how many of their first numbers the embeddings are to keep.
        model: its name, for the message.
        field: where the client named the number.
    """
    if not 1 <= wanted <= width:
        message = f"{model} gives 1 to {width}, not {wanted}; name a number between them, or leave it out"
        raise Refused.of_field(field, message, status, reason)
