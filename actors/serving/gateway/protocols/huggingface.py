"""Hugging Face's Inference API, for `huggingface_hub.InferenceClient`.

Question answering, feature extraction and sentence similarity.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request, Response

from actors.serving.gateway.context import Context
from actors.serving.gateway.errors import plain_body
from actors.serving.gateway.protocols.base import ProtocolRoutes
from actors.serving.gateway.protocols.bodies.json_body import bounded_route
from actors.serving.gateway.protocols.bodies.replies import as_json, example, served_model
from actors.serving.gateway.protocols.huggingface_tasks import (
    Asked,
    Inputs,
    Questions,
    Similarity,
    Texts,
    asked,
    asked_answers,
    asked_embeddings,
    asked_similarities,
)
from actors.serving.gateway.submit import ask

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
AnyInputs = Annotated[Inputs, Body(openapi_examples=_PAIRS | _TEXTS | _SENTENCES)]
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
        return await self._reply(asked_answers(body, self._chosen(http).qa), http)

    async def embed(self, body: AnyTexts, http: Request) -> Response:
        """Embeds a text as a list of numbers; a list of texts gives a list of such lists."""
        return await self._reply(asked_embeddings(body, self._chosen(http).embedding), http)

    async def compare(self, body: AnySentences, http: Request) -> Response:
        """How similar a sentence is to each of others: the cosine of their embeddings, from -1 to 1.

        Where a refusal numbers the inputs, the source sentence is input 0.
        """
        return await self._reply(asked_similarities(body, self._chosen(http).embedding), http)

    async def infer(self, body: AnyInputs, http: Request) -> Response:
        """Answers a question from a passage, embeds a text, or compares sentences: what `inputs` holds decides."""
        chosen = self._chosen(http)
        return await self._reply(asked(body, chosen.qa, chosen.embedding), http)

    def _chosen(self, http: Request) -> Context:
        """Of the model that the path names; of the first where it names none."""
        name = http.path_params.get("model")
        return self._context if name is None else self._context.named(name)

    async def _reply(self, wanted: Asked, http: Request) -> Response:
        chosen = self._chosen(http)
        await chosen.check_dimensions(wanted.dimensions, reason="unsupported")
        reply = await ask(
            chosen,
            http,
            wanted.task,
            wanted.texts,
            wanted.questions,
            qa=wanted.qa,
            embedding=wanted.embedding,
            long_texts=wanted.long_texts,
        )
        return as_json(wanted.content(reply))


def routes(context: Context) -> ProtocolRoutes:
    """`/` and `/models/{model}`, for every task, and both with the task at the end."""
    router, inference = APIRouter(route_class=bounded_route(context.limits.max_inputs)), Inference(context)

    async def served(model: Annotated[str, served_model(context.model)]) -> None:
        context.named(model)

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
