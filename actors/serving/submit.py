"""What every route does with the fields of its request: check the limits, ask a model actor, note what to log."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request as HTTPRequest

from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.context import Context
from actors.serving.errors import invalid
from actors.serving.parameters import LimitParameters
from actors.serving.types import LongTexts, Refusal, Refused, Reply, Request, Task

TIMEOUT_HEADER = "X-Request-Timeout-Ms"


async def ask(
    context: Context,
    http: HTTPRequest,
    task: Task,
    texts: Sequence[str],
    questions: Sequence[str] = (),
    qa: QAParameters | None = None,
    embedding: EmbeddingParameters | None = None,
    long_texts: LongTexts = "window",
) -> Reply:
    """Has a model actor answer, and leaves rows and timing in `http.state`, for the access log and the headers.

    Args:
        http: its `state.request_id` is the id of the request.
        texts, questions: as in `Request`.
        qa, embedding: None takes the defaults of the service.

    Raises:
        Refused: a limit is exceeded, or the model actors cannot answer.
    """
    http.state.rows = len(texts)
    request = Request(
        id=http.state.request_id,
        task=task,
        texts=tuple(texts),
        questions=tuple(questions),
        qa=qa or context.qa,
        embedding=embedding or context.embedding,
        long_texts=long_texts,
        seconds=_seconds(http, context.limits),
    )
    check_inputs(request, context.limits)
    reply = await context.client.ask(request)
    http.state.timing = reply.timing
    return reply


def with_parameters(qa: QAParameters, **changes: Any) -> QAParameters:
    """The parameters with the changes of a request; changes that are None are left out.

    Raises:
        Refused: a value is not valid.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return QAParameters.model_validate(qa.model_dump() | given)
    except ValidationError as error:
        raise Refused(invalid([(e["loc"], e) for e in error.errors()])) from error


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


def _seconds(http: HTTPRequest, limits: LimitParameters) -> float:
    given = http.headers.get(TIMEOUT_HEADER)
    if given is None:
        return limits.timeout_ms / 1000
    if not given.isascii() or not given.isdigit() or not int(given[:12]):
        raise Refused(Refusal(422, "invalid", f"{TIMEOUT_HEADER}: {given[:40]!r} is no whole number of milliseconds"))
    return min(int(given[:12]), limits.timeout_ms) / 1000
