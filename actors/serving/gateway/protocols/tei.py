"""The API of Text Embeddings Inference, for clients that were written for that server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from actors.arrays import Floats
from actors.parameters import EmbeddingParameters
from actors.serving.gateway.checks import check_inputs, with_parameters
from actors.serving.gateway.context import Context
from actors.serving.gateway.protocols.base import ProtocolRoutes
from actors.serving.gateway.protocols.bodies.json_body import bounded_route
from actors.serving.gateway.protocols.bodies.replies import as_json, example
from actors.serving.gateway.protocols.bodies.schema import Body, OneOrMany, listed
from actors.serving.gateway.protocols.tei_tokenize import BoundedTokenizer
from actors.serving.gateway.submit import ask
from actors.serving.replica.threads import TOKENISERS
from actors.serving.types import LongTexts, Refusal, Reply, Task
from actors.serving.types import Request as Inputs
from actors.tokenization.preprocess import embedding_window_size
from actors.version import release

_JSON = "application/json"
_TOKENS = [
    {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
    {"id": 15262, "text": "Ada", "special": False, "start": 0, "stop": 3},
    {"id": 102, "text": "[SEP]", "special": True, "start": None, "stop": None},
]
_EMPTY = ("empty", "no_inputs")
_TOKENIZER = ("no_tokens", "not_text")
_BACKEND = ("crashed", "deadline")
_STATUSES = {"empty": 400, "no_inputs": 400, "crashed": 424}
"""As the OpenAPI document of Text Embeddings Inference has them: 400 for an empty batch, 424 for a failed inference."""


def _no_prompts(value: object) -> object:
    if value is not None:
        raise PydanticCustomError("prompt", "there are no prompts here; write the prompt before each input")
    return value


def _right_only(value: object) -> object:
    if value in ("Left", "left"):
        raise PydanticCustomError("left", "texts are cut on the right only; cut them before you send them")
    return value


class TextInputs(Body):
    """What all of the routes take."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["Ada Lovelace was born in London in 1815."]}]}
    )

    inputs: OneOrMany[str]
    """A text, or a list of texts."""
    prompt_name: Annotated[None, BeforeValidator(_no_prompts)] = None
    """There are no prompts."""


class EmbedAllRequest(TextInputs):
    """Texts whose every token is embedded."""

    truncate: bool | None = None
    """Cut texts that are longer than the model's window; otherwise they are refused with 413."""
    truncation_direction: Annotated[Literal["Right", "right"], BeforeValidator(_right_only)] = "Right"
    """Which end is cut."""


class EmbedRequest(EmbedAllRequest):
    """Texts to embed."""

    normalize: bool = True
    """Scale every embedding to length 1."""
    dimensions: int | None = None
    """How many of its first numbers an embedding keeps; where it is normalised, it is so afterwards. Null keeps all."""


class TokenizeRequest(TextInputs):
    """Texts to tokenise, however long they are."""

    add_special_tokens: bool = True
    """Frame every text as the model sees it."""


def routes(context: Context) -> ProtocolRoutes:
    """The routes of the Text Embeddings Inference server, except /metrics."""
    router = APIRouter(route_class=bounded_route(context.limits.max_inputs))
    bounded = BoundedTokenizer(context.limits.max_request_bytes)

    async def vectors(body: EmbedAllRequest, http: Request, task: Task, embedding: EmbeddingParameters) -> Reply:
        long_texts: LongTexts = "cut" if body.truncate else "refuse"
        return await ask(context, http, task, listed(body.inputs), embedding=embedding, long_texts=long_texts)

    @router.post("/embed", responses=example([[0.04, -0.07, 0.01]]))
    async def embed(body: EmbedRequest, http: Request) -> Response:
        """Embeds texts: a list of numbers for each."""
        await context.check_dimensions(body.dimensions)
        embedding = with_parameters(context.embedding, dimensions=body.dimensions, normalize=body.normalize)
        reply = await vectors(body, http, "embed", embedding)
        return as_json(reply.embeddings)

    @router.post("/embed_all", responses=example([[[0.41, -0.29, 0.12], [0.3, -0.05, 0.27]]]))
    async def embed_all(body: EmbedAllRequest, http: Request) -> Response:
        """Embeds every token of texts, special tokens included: a list of lists of numbers for each text."""
        reply = await vectors(body, http, "tokens", context.embedding)
        return StreamingResponse(_json_stream(reply.token_embeddings), media_type=_JSON)

    @router.post("/tokenize", responses=example([_TOKENS]))
    async def tokenize(body: TokenizeRequest, http: Request) -> Response:
        """Tokenises texts: a list of tokens for each. `start` and `stop` count code points of the text."""
        texts = listed(body.inputs)
        http.state.rows = len(texts)
        check_inputs(Inputs(http.state.request_id, "tokens", tuple(texts)), context.limits)
        tokenizer = (await context.client.spec()).tokenizer()
        return Response(await bounded.tokenise(tokenizer, texts, body.add_special_tokens), media_type=_JSON)

    @router.get("/info")
    async def info() -> dict[str, object]:
        """The model and the limits."""
        return await _info(context)

    @router.get("/health")
    async def health() -> Response:
        """200 with an empty body where a real forward pass succeeds."""
        await context.ready()
        return Response()

    return ProtocolRoutes("Text Embeddings Inference", router, _error_body, _STATUSES)


async def _json_stream(arrays: Sequence[Floats]) -> AsyncIterator[bytes]:
    """A JSON list of arrays, an array at a time: other requests run in between, and one array is text at a time."""
    for index, array in enumerate(arrays):
        yield b"," if index else b"["
        yield orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
        await asyncio.sleep(0)
    yield b"]"


async def _info(context: Context) -> dict[str, object]:
    card, spec = await context.client.card(), await context.client.spec()
    return {
        "model_id": context.model,
        "model_sha": card.fingerprint,
        "model_dtype": card.dtype,
        "served_model_name": context.model,
        "model_type": {"embedding": {"pooling": context.embedding.pooling}},
        "max_concurrent_requests": context.limits.max_in_flight,
        "max_input_length": embedding_window_size(spec, context.embedding).max_seq_len,
        "max_batch_tokens": context.batching.max_tokens,
        "max_batch_requests": context.batching.max_windows,
        "max_client_batch_size": context.limits.max_inputs,
        "auto_truncate": False,
        "tokenization_workers": TOKENISERS,
        "version": release(),
        "sha": None,
        "docker_label": None,
    }


def _error_body(refusal: Refusal) -> dict[str, object]:
    return {"error": refusal.message, "error_type": _error_type(refusal)}


def _error_type(refusal: Refusal) -> str:
    if refusal.reason in _EMPTY:
        return "Empty"
    if refusal.reason in _TOKENIZER:
        return "Tokenizer"
    if refusal.status == 429:
        return "Overloaded"
    if refusal.status == 503:
        return "Unhealthy"
    return "Backend" if refusal.status >= 500 or refusal.reason in _BACKEND else "Validation"
