"""All that the encoder gives of texts: tokens, vectors of texts, tokens and layers, and attention."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import Field

from actors.parameters import EmbeddingParameters
from actors.serving.gateway.checks import with_parameters
from actors.serving.gateway.context import Context
from actors.serving.gateway.errors import plain_body
from actors.serving.gateway.protocols.base import ProtocolRoutes
from actors.serving.gateway.protocols.bodies import schema
from actors.serving.gateway.protocols.bodies.columns import ColumnParameters, ColumnReplies, columns_asked
from actors.serving.gateway.protocols.bodies.json_body import bounded_route
from actors.serving.gateway.protocols.bodies.replies import example, usage_and_times
from actors.serving.gateway.protocols.bodies.schema import Many, OneOrMany, listed
from actors.serving.gateway.submit import ask

TextColumn = Literal["tokens", "embedding", "token_vectors", "hidden", "attention"]
_TEXT = "Ada Lovelace was born in London in 1815."
_EXAMPLES: Any = {
    "an embedding and the tokens": {"value": {"inputs": _TEXT, "columns": ["tokens", "embedding"]}},
    "vectors of tokens": {
        "value": {
            "inputs": [_TEXT],
            "columns": ["token_vectors"],
            "parameters": {"token_vectors": {"layers": "last", "dtype": "int8"}},
        }
    },
}
_REPLY = {
    "rows": [
        {
            "tokens": [{"text": "Ada", "id": 15262, "start": 0, "end": 3}],
            "embedding": [0.04, -0.07, 0.01],
        }
    ],
    "usage": {"tokens": 13},
    "timing_ms": {"tokenise": 0.4, "queue": 0.1, "inference": 4.8},
}


class EncodeParameters(ColumnParameters):
    """How to encode. What is left out or null is the service's default."""

    pooling: OneOrMany[str] | None = None
    """How the vectors of tokens become one: mean, cls, max or last. A list gives a vector for each, as `embedding_mean`
    and so on."""
    normalize: bool | None = None
    """Scale every embedding to length 1."""
    dimensions: int | None = None
    """How many of its first numbers an embedding keeps; where it is normalised, it is so afterwards."""
    dtype: Literal["float32", "float16", "int8", "binary"] | None = None
    """Type of the numbers of `embedding`; binary gives bytes, of eight numbers each."""
    int8_range: float | None = None
    """The number that 127 stands for in int8; 1 by default."""
    max_seq_len: int | None = None
    """Longest window in tokens, special tokens included; longer texts are cut into several."""
    doc_stride: int | None = None
    """Tokens that neighbouring windows of a text share."""


class Texts(schema.Body):
    """Texts, and what to give of them."""

    inputs: OneOrMany[str]
    """A text, or a list of texts."""
    columns: Annotated[Many[TextColumn], Field(min_length=1)] = ["embedding"]
    """What to give of each text."""
    parameters: EncodeParameters = EncodeParameters()


def routes(context: Context) -> ProtocolRoutes:
    """`/encode`."""
    router, replies = APIRouter(route_class=bounded_route(context.limits.max_inputs)), ColumnReplies()

    @router.post("/encode", responses=example(_REPLY | {"model": context.model}))
    async def encode(body: Annotated[Texts, Body(openapi_examples=_EXAMPLES)], http: Request) -> Response:
        """Encodes texts: `rows` has an object for each, with the columns that are asked for.

        They hold what the columns of the same names hold in the output of a job. `GET /model` lists those that the
        served model can give. `usage.tokens` is what the model saw.
        """
        given = body.parameters.model_dump(include=set(EmbeddingParameters.model_fields))
        await context.check_dimensions(given["dimensions"], field="parameters.dimensions")
        embedding = with_parameters(context.embedding, "parameters", **given)
        columns = columns_asked(body.columns, body.parameters)
        reply = await ask(context, http, "encode", listed(body.inputs), embedding=embedding, columns=columns)
        return await replies.response(usage_and_times(reply, context.model), reply, "rows")

    return ProtocolRoutes("Spanmill", router, plain_body)
