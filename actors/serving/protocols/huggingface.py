"""Hugging Face's Inference API, for `huggingface_hub.InferenceClient`.

Question answering, feature extraction and sentence similarity.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import Discriminator, Tag

from actors.serving.context import Context
from actors.serving.errors import plain_body
from actors.serving.protocols import schema
from actors.serving.protocols.base import ProtocolRoutes
from actors.serving.protocols.json_body import bounded_route
from actors.serving.protocols.schema import OneOrMany, Pair, PipelineParameters, as_json, example, listed
from actors.serving.submit import ask, with_parameters
from actors.serving.types import LongTexts, Refused, Span

_PAIR = {"question": "Where was Ada Lovelace born?", "context": "Ada Lovelace was born in London in 1815."}
_PAIRS: Any = {
    "a question": {"value": {"inputs": _PAIR}},
    "questions": {"value": {"inputs": [_PAIR], "parameters": {"top_k": 2, "handle_impossible_answer": True}}},
}
_TEXTS: Any = {
    "a text": {"value": {"inputs": "Ada Lovelace was born in London in 1815."}},
    "texts": {"value": {"inputs": ["Ada Lovelace", "London"], "normalize": True}},
}
_SENTENCES: Any = {
    "a sentence against others": {
        "value": {
            "inputs": {
                "source_sentence": "Where was Ada Lovelace born?",
                "sentences": ["Ada Lovelace was born in London in 1815.", "The mill stands by the river."],
            }
        }
    }
}
_SIMILARITIES = example([0.81, 0.12])
EXAMPLE_ANSWER = example({"answer": "London", "score": 0.97, "start": 25, "end": 31})
_VECTOR = example([0.012, -0.034, 0.056])
_LONG: dict[bool | None, LongTexts] = {None: "window", True: "cut", False: "refuse"}


class Options(schema.Body):
    """Taken for clients that send them: the model is always loaded, and nothing is cached."""

    use_cache: bool | None = None
    wait_for_model: bool | None = None


class Questions(schema.Body):
    """A question and its passage, or a list of such pairs."""

    inputs: OneOrMany[Pair]
    parameters: PipelineParameters | None = None
    options: Options | None = None


class FeatureParameters(schema.Body):
    """How to embed. What is left out or null is the service's default."""

    normalize: bool | None = None
    """Scale every embedding to length 1."""
    truncate: bool | None = None
    """Cut texts that are longer than the model's window (true), or refuse them (false); null pools all of the text."""
    truncation_direction: Literal["right", "left"] | None = None
    """Only "right"."""
    prompt_name: str | None = None
    """Not kept here; only null."""
    dimensions: int | None = None
    """Only the model's own."""
    encoding_format: Literal["float", "base64"] | None = None
    """Only "float"."""


class Texts(FeatureParameters):
    """A text, or a list of texts. Parameters stand beside them, where clients put them, or in `parameters`."""

    inputs: OneOrMany[str]
    parameters: FeatureParameters | None = None
    options: Options | None = None

    def wanted(self) -> FeatureParameters:
        """The parameters, wherever they stand."""
        beside = self.model_dump(include=set(FeatureParameters.model_fields), exclude_none=True)
        return (self.parameters or FeatureParameters()).model_copy(update=beside)


class Sentences(schema.Body):
    """A sentence, and those that it is compared with."""

    source_sentence: str
    sentences: schema.Many[str]


class SimilarityParameters(schema.Body):
    """How to embed what is compared."""

    truncate: bool | None = None
    """Cut texts that are longer than the model's window (true), or refuse them (false); null pools all of the text."""


class Similarity(schema.Body):
    """A sentence to compare with others."""

    inputs: Sentences
    parameters: SimilarityParameters = SimilarityParameters()
    options: Options | None = None


def _body_kind(body: object) -> str:
    inputs = body.get("inputs") if isinstance(body, dict) else None
    first = inputs[0] if isinstance(inputs, list) and inputs else inputs
    if not isinstance(first, dict):
        return "(texts)"
    compares = isinstance(inputs, dict) and not Sentences.model_fields.keys().isdisjoint(inputs)
    return "(similarity)" if compares else "(questions)"


_Inputs = Annotated[
    Annotated[Questions, Tag("(questions)")]
    | Annotated[Texts, Tag("(texts)")]
    | Annotated[Similarity, Tag("(similarity)")],
    Discriminator(_body_kind),
]
AnyInputs = Annotated[_Inputs, Body(openapi_examples=_PAIRS | _TEXTS | _SENTENCES)]
AnySentences = Annotated[Similarity, Body(openapi_examples=_SENTENCES)]
AnyQuestions = Annotated[Questions, Body(openapi_examples=_PAIRS)]
AnyTexts = Annotated[Texts, Body(openapi_examples=_TEXTS)]


class Inference:
    """The tasks of a service as handlers of routes; what the bodies hold is the same wherever they are sent."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def answer(self, body: AnyQuestions, http: Request) -> Response:
        """Answers a question from a passage. A list of pairs gives a list, and so does `top_k` beyond 1 for each pair.

        Where the model abstains, `answer` is empty, and `start` and `end` are 0.
        """
        pairs = listed(body.inputs)
        qa = with_parameters(self._context.qa, **(body.parameters or PipelineParameters()).model_dump())
        texts, questions = [pair.context for pair in pairs], [pair.question for pair in pairs]
        reply = await ask(self._context, http, "answer", texts, questions, qa=qa)
        rows = [[_answer(span) for span in spans] for spans in reply.spans]
        answers = rows if qa.top_k > 1 else [best for (best,) in rows]
        return as_json(answers if isinstance(body.inputs, list) else answers[0])

    async def embed(self, body: AnyTexts, http: Request) -> Response:
        """Embeds a text as a list of numbers; a list of texts gives a list of such lists."""
        texts = listed(body.inputs)
        wanted = body.wanted()
        await _check(wanted, self._context)
        embedding = self._context.embedding
        if wanted.normalize is not None:
            embedding = embedding.model_copy(update={"normalize": wanted.normalize})
        reply = await ask(self._context, http, "embed", texts, embedding=embedding, long_texts=_LONG[wanted.truncate])
        vectors = np.asarray(reply.embeddings)
        return as_json(vectors if isinstance(body.inputs, list) else vectors[0])

    async def compare(self, body: AnySentences, http: Request) -> Response:
        """How similar a sentence is to each of others: the cosine of their embeddings, from -1 to 1.

        Where a refusal numbers the inputs, the source sentence is input 0.
        """
        sentences = body.inputs.sentences
        # Nothing to compare with is told as everywhere.
        texts = [body.inputs.source_sentence, *sentences] if sentences else []
        embedding = self._context.embedding.model_copy(update={"normalize": True, "dtype": "float32"})
        long_texts = _LONG[body.parameters.truncate]
        reply = await ask(self._context, http, "embed", texts, embedding=embedding, long_texts=long_texts)
        source, *others = np.asarray(reply.embeddings)
        return as_json(np.asarray(others) @ source)

    async def infer(self, body: AnyInputs, http: Request) -> Response:
        """Answers a question from a passage, embeds a text, or compares sentences: what `inputs` holds decides."""
        if isinstance(body, Questions):
            return await self.answer(body, http)
        return await (self.compare(body, http) if isinstance(body, Similarity) else self.embed(body, http))


def routes(context: Context) -> ProtocolRoutes:
    """`/` and `/models/{model}`, for every task, and both with the task at the end."""
    router, inference = APIRouter(route_class=bounded_route(context.limits.max_inputs)), Inference(context)

    async def served(model: Annotated[str, schema.served_model(context.model)]) -> None:
        context.check_model(model)

    named = [Depends(served)]
    tasks: tuple[tuple[str, Callable[..., Awaitable[Response]], dict[int | str, dict[str, Any]]], ...] = (
        ("question-answering", inference.answer, EXAMPLE_ANSWER),
        ("feature-extraction", inference.embed, _VECTOR),
        ("sentence-similarity", inference.compare, _SIMILARITIES),
    )
    for task, handle, given in tasks:
        router.post(f"/pipeline/{task}", responses=given)(handle)
        router.post(f"/models/{{model:path}}/pipeline/{task}", responses=given, dependencies=named)(handle)
    router.post("/", responses=EXAMPLE_ANSWER)(inference.infer)
    router.post("/models/{model:path}", responses=EXAMPLE_ANSWER, dependencies=named)(inference.infer)
    return ProtocolRoutes("Hugging Face", router, plain_body)


def _answer(span: Span) -> dict[str, object]:
    return {"answer": span.text or "", "score": span.score, "start": max(span.start, 0), "end": max(span.end, 0)}


async def _check(wanted: FeatureParameters, context: Context) -> None:
    if wanted.prompt_name is not None:
        raise _unsupported("prompt_name", "no prompts are kept here; write the prompt before the text")
    if wanted.truncation_direction == "left":
        raise _unsupported("truncation_direction", "texts are cut on the right alone; leave it out")
    if wanted.encoding_format == "base64":
        raise _unsupported("encoding_format", "the answer is numbers; /v1/embeddings gives base64")
    await context.check_dimensions(wanted.dimensions, reason="unsupported")


def _unsupported(name: str, message: str) -> Refused:
    return Refused.of_field(name, message, reason="unsupported")
