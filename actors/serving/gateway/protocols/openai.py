"""OpenAI's API for embeddings, for the openai client and compatible ones."""

import base64
from typing import Annotated, Literal

import fastapi
import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, field_validator

from actors.arrays import Floats
from actors.serving.gateway.checks import with_parameters
from actors.serving.gateway.context import Context
from actors.serving.gateway.protocols.base import ProtocolRoutes
from actors.serving.gateway.protocols.bodies.json_body import bounded_route
from actors.serving.gateway.protocols.bodies.replies import as_json, example, served_model
from actors.serving.gateway.protocols.bodies.schema import Body, OneOrMany, listed
from actors.serving.gateway.submit import ask
from actors.serving.types import Refusal, Refused

_UNKNOWN_TIME = 0
_INVALID = 400
"""OpenAI's status for it."""
_EXAMPLE = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.04, -0.07, 0.01]}],
    "usage": {"prompt_tokens": 12, "total_tokens": 12},
}


class EmbeddingsRequest(Body):
    """Texts to embed. One that is longer than the model's window is pooled over several windows."""

    input: OneOrMany[str]
    """A text, or a list of texts."""
    model: str
    """A name of the model that is served; /v1/models lists it."""
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers, or little-endian float32 in base64."""
    dimensions: int | None = None
    """How many of its first numbers an embedding keeps; where it is normalised, it is so afterwards. Null keeps all."""
    user: str | None = None
    """Taken and not used."""

    @field_validator("input", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        first = value[0] if isinstance(value, list) and value else None
        if isinstance(first, int | list):
            # Not a ValueError: OpenAI's status for it is 400.
            raise Refused.of_field("input", "token arrays are not taken; send texts", _INVALID)
        return value


class ModelObject(BaseModel):
    """A model that can be asked."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    object: Literal["model"] = "model"
    created: int = _UNKNOWN_TIME
    """0: a folder does not say when its model was made."""
    owned_by: str = "spanmill"


class ModelList(BaseModel):
    """The models that can be asked."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


def routes(context: Context) -> ProtocolRoutes:
    """The routes under /v1."""
    router = APIRouter(prefix="/v1", route_class=bounded_route(context.limits.max_inputs))
    asked = {"model": context.model, "input": ["Ada Lovelace was born in London in 1815."]}

    @router.post("/embeddings", responses=example(_EXAMPLE | {"model": context.model}))
    async def embeddings(body: Annotated[EmbeddingsRequest, fastapi.Body(examples=[asked])], http: Request) -> Response:
        """Embeds texts."""
        chosen = context.named(body.model)
        await chosen.check_dimensions(body.dimensions, _INVALID)
        embedding = with_parameters(chosen.embedding, dimensions=body.dimensions)
        reply = await ask(chosen, http, "embed", listed(body.input), embedding=embedding)
        tokens = sum(reply.tokens)
        return as_json(
            {
                "object": "list",
                "data": _data(np.asarray(reply.embeddings, "<f4"), body.encoding_format),
                "model": chosen.model,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )

    @router.get("/models")
    async def models() -> ModelList:
        """The models that are served."""
        return ModelList(data=[ModelObject(id=name) for name in context.models])

    @router.get("/models/{model:path}")
    async def model(model: Annotated[str, served_model(context.model)]) -> ModelObject:
        """One of the models that are served."""
        return ModelObject(id=context.named(model).model)

    return ProtocolRoutes("OpenAI", router, _error_body)


def _data(embeddings: Floats, encoding: str) -> list[dict[str, object]]:
    rows: list[object] = list(embeddings)
    if encoding == "base64":
        rows = [base64.b64encode(row).decode() for row in embeddings]
    return [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]


def _error_body(refusal: Refusal) -> dict[str, object]:
    kind = "invalid_request_error"
    if refusal.status == 401:
        kind = "authentication_error"
    elif refusal.status == 429:
        kind = "rate_limit_error"
    elif refusal.status >= 500:
        kind = "server_error"
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.field, "code": refusal.reason}}
