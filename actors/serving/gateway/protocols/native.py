"""Spanmill's own protocol: many questions on one passage, or many pairs, with every parameter of the engine."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Tag

from actors.parameters import QAParameters
from actors.serving.gateway.checks import with_parameters
from actors.serving.gateway.context import Context
from actors.serving.gateway.errors import plain_body
from actors.serving.gateway.protocols.base import ProtocolRoutes
from actors.serving.gateway.protocols.bodies import schema
from actors.serving.gateway.protocols.bodies.columns import ColumnParameters, ColumnReplies, columns_asked
from actors.serving.gateway.protocols.bodies.json_body import bounded_route
from actors.serving.gateway.protocols.bodies.replies import example, usage_and_times
from actors.serving.gateway.protocols.bodies.schema import Many, Pair, PipelineParameters
from actors.serving.gateway.submit import ask
from actors.serving.types import Reply, Span

_PASSAGE = {
    "context": "Ada Lovelace was born in London in 1815. She wrote the first program.",
    "questions": ["Where was Ada Lovelace born?", "When was she born?"],
}
_QUESTION = {"context": _PASSAGE["context"], "question": "Where was Ada Lovelace born?"}
_PAIRS = {
    "inputs": [{"question": "Where was Ada Lovelace born?", "context": "Ada Lovelace was born in London in 1815."}],
    "parameters": {"top_k": 2, "handle_impossible_answer": True, "null_score": True},
}
_REPLY = {
    "answers": [[{"answer": "London", "score": 0.97, "start": 25, "end": 31}]],
    "null_scores": [0.01],
    "usage": {"tokens": 24},
    "timing_ms": {"tokenise": 0.4, "queue": 0.1, "inference": 4.8},
}
AnswerColumn = Literal["attribution", "attention", "tokens", "token_vectors", "hidden", "embedding"]


class ModelDescription(BaseModel):
    """The model that answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """What requests may call it."""
    architecture: str
    """The transformers class."""
    answers: bool
    """Whether it has a QA head."""
    columns: list[str]
    """What it can give beside answers: names for `columns` of /encode and /answer."""
    layers: int
    """Beside the embedding layer."""
    heads: int
    """Attention heads of a layer."""
    hidden_size: int
    """Numbers of a vector."""
    max_length: int
    """Tokens of the longest window."""
    backend: str
    """The runtime that computes it."""
    dtype: str
    """In which it computes."""
    fingerprint: str
    """SHA-256 of its files, in hex."""


class AnswerParameters(PipelineParameters, ColumnParameters):
    """How to answer. What is left out or null is the service's default."""

    null_score: bool | None = None
    """Also say how probable it is that the passage holds no answer, to set against the score."""
    columns: Many[AnswerColumn] = []
    """What else to give of every row: `columns` of the reply."""
    probabilities: bool = False
    """Also give how probable an answer's start and end are at every token of every window: `windows` of the reply."""


class Passage(schema.Body):
    """Many questions on one passage."""

    context: str
    """The passage."""
    questions: schema.Many[str]
    parameters: AnswerParameters = AnswerParameters()


class OneQuestion(schema.Body):
    """One question on a passage: the same as `questions` with this one."""

    context: str
    """The passage."""
    question: str
    parameters: AnswerParameters = AnswerParameters()


class Pairs(schema.Body):
    """Many questions, each on a passage of its own."""

    inputs: schema.Many[Pair]
    parameters: AnswerParameters = AnswerParameters()


def _body_kind(body: object) -> str:
    fields = body if isinstance(body, dict) else {}
    if "inputs" in fields:
        return "(pairs)"
    return "(question)" if "question" in fields and "questions" not in fields else "(passage)"


AnyQuestions = Annotated[
    Annotated[Passage, Tag("(passage)")] | Annotated[OneQuestion, Tag("(question)")] | Annotated[Pairs, Tag("(pairs)")],
    Discriminator(_body_kind),
]
_EXAMPLES: Any = {
    "questions on a passage": {"value": _PASSAGE},
    "one question": {"value": _QUESTION},
    "many pairs": {"value": _PAIRS},
}


def routes(context: Context) -> ProtocolRoutes:
    """`POST /answer`, and `GET /model`, which says what the served model is and can give."""
    router, replies = APIRouter(route_class=bounded_route(context.limits.max_inputs)), ColumnReplies()

    @router.post("/answer", responses=example(_REPLY | {"model": context.model}))
    async def answer(body: Annotated[AnyQuestions, Body(openapi_examples=_EXAMPLES)], http: Request) -> Response:
        """Answers questions from passages, many in one request.

        `answers` has a list for each question, best first, with offsets in code points of the passage. Where the model
        abstains, `answer`, `start` and `end` are null. `null_scores` comes with `null_score` alone. `usage.tokens` is
        what the model saw: windows overlap, and each begins with the question. `columns` of the parameters gives
        `columns`, an object for each question; `probabilities` gives `windows`, a list for each question.
        """
        given = body.parameters
        qa = with_parameters(context.qa, **given.model_dump(include=set(QAParameters.model_fields)))
        columns = columns_asked(given.columns, given, given.probabilities)
        pairs = _pairs(body)
        questions, texts = [question for question, _ in pairs], [text for _, text in pairs]
        reply = await ask(context, http, "answer", texts, questions, qa=qa, columns=columns)
        return await replies.response(_content(reply, qa.null_score, context.model), reply, "columns")

    @router.get("/model")
    async def model() -> ModelDescription:
        """The model that is served, and the columns that `/encode` and `/answer` can give of it."""
        card = await context.client.card()
        return ModelDescription(
            name=context.model,
            architecture=card.architecture,
            answers=card.answers,
            columns=list(card.columns),
            layers=card.layers,
            heads=card.heads,
            hidden_size=card.hidden_size,
            max_length=card.max_length,
            backend=card.backend,
            dtype=card.dtype,
            fingerprint=card.fingerprint,
        )

    return ProtocolRoutes("Spanmill", router, plain_body)


def _pairs(body: AnyQuestions) -> list[tuple[str, str]]:
    """Questions, and the passage of each."""
    if isinstance(body, Pairs):
        return [(pair.question, pair.context) for pair in body.inputs]
    questions = [body.question] if isinstance(body, OneQuestion) else body.questions
    return [(question, body.context) for question in questions]


def _content(reply: Reply, null_score: bool, model: str) -> dict[str, object]:
    content: dict[str, object] = {"answers": [[_answer(span) for span in spans] for spans in reply.spans]}
    if null_score:
        content["null_scores"] = reply.null_scores
    return content | usage_and_times(reply, model)


def _answer(span: Span) -> dict[str, object]:
    found = span.text is not None
    start, end = (span.start, span.end) if found else (None, None)
    return {"answer": span.text, "score": span.score, "start": start, "end": end}
