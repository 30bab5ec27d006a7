"""What every route does with the fields of its request: check the limits, ask a model actor, note what to log."""

from collections.abc import Sequence

from starlette.requests import Request as HTTPRequest

from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.gateway.checks import check_inputs
from actors.serving.gateway.context import Context
from actors.serving.gateway.key_limits import KeyUse
from actors.serving.parameters import LimitParameters
from actors.serving.types import LongTexts, Refusal, Refused, Reply, Request, Task, WantedColumns

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
    columns: WantedColumns | None = None,
) -> Reply:
    """Has a model actor answer; leaves model, rows and timing in `http.state`, for the access log and the headers.

    Args:
        http: its `state.request_id` is the id of the request.
        texts, questions: as in `Request`.
        qa, embedding: None takes the defaults of the service.
        columns: None for none.

    Raises:
        Refused: a limit is exceeded, or the model actors cannot answer.
    """
    http.state.rows, http.state.model = len(texts), context.model
    key: KeyUse = http.scope["state"]["key"]
    request = Request(
        id=http.state.request_id,
        task=task,
        texts=tuple(texts),
        questions=tuple(questions),
        qa=qa or context.qa,
        embedding=embedding or context.embedding,
        long_texts=long_texts,
        columns=columns or WantedColumns(),
        seconds=_seconds(http, context.limits),
        # Not http.state.trace: where there is none, Starlette takes many times as long to say so.
        trace=http.scope["state"].get("trace"),
        tenant=key.tenant,
    )
    check_inputs(request, context.limits)
    with key.request(sum(map(len, request.texts)) + sum(map(len, request.questions))) as computed:
        reply = await context.client.ask(request)
        computed(sum(reply.tokens))
    http.state.timing = reply.timing
    return reply


def _seconds(http: HTTPRequest, limits: LimitParameters) -> float:
    given = http.headers.get(TIMEOUT_HEADER)
    if given is None:
        return limits.timeout_ms / 1000
    if not given.isascii() or not given.isdigit() or not int(given[:12]):
        raise Refused(Refusal(422, "invalid", f"{TIMEOUT_HEADER}: {given[:40]!r} is no whole number of milliseconds"))
    return min(int(given[:12]), limits.timeout_ms) / 1000
