"""What `/answer` and `/encode` share: the fields that ask for columns of the encoder, and the JSON of those."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import orjson
import pyarrow as pa
from fastapi import Response
from pydantic import Discriminator, NonNegativeInt, Tag

from actors.parameters import AttentionParameters, TokenVectorParameters
from actors.serving.gateway.checks import with_parameters
from actors.serving.gateway.protocols.bodies.arrow_json import list_json, rows_json
from actors.serving.gateway.protocols.bodies.replies import as_json
from actors.serving.gateway.protocols.bodies.schema import Body, Many
from actors.serving.replica.threads import in_thread
from actors.serving.types import WINDOWS, Reply, WantedColumns

ALL = "all"


def _layers_kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return "(many)"
    return "(last)" if isinstance(value, str) else "(one)"


AnyLayers = Annotated[
    Annotated[Literal["last"], Tag("(last)")]
    | Annotated[NonNegativeInt, Tag("(one)")]
    | Annotated[Many[NonNegativeInt], Tag("(many)")],
    Discriminator(_layers_kind),
]


def _top_kind(value: object) -> str:
    return "(all)" if isinstance(value, str) else "(number)"


AnyTop = Annotated[
    Annotated[Literal["all"], Tag("(all)")] | Annotated[int, Tag("(number)")],
    Discriminator(_top_kind),
]


class TokenVectors(Body):
    """Which vectors the column `token_vectors` has."""

    layers: AnyLayers = "last"
    """last, the number of a layer, or a list of numbers, whose mean is taken. 0 is the embedding layer's output."""
    dtype: Literal["float32", "float16", "int8"] = "float32"
    """Type of the numbers; of int8, a vector is its `values` times its number in `scales`."""


class Attention(Body):
    """What the column `attention` holds."""

    top: AnyTop = 8
    """The tokens that a token attends to most, in each head; "all" for every weight."""
    layers: Many[int] | None = None
    """Numbers of layers, from 1; null for all."""


class ColumnParameters(Body):
    """How columns are computed. What is left out or null is the default."""

    token_vectors: TokenVectors = TokenVectors()
    attention: Attention = Attention()


def columns_asked(names: Sequence[str], parameters: ColumnParameters, probabilities: bool = False) -> WantedColumns:
    """What the fields of a body ask for; a name that is there twice counts once.

    Raises:
        Refused: a parameter is not valid.
    """
    vectors, attention = parameters.token_vectors, parameters.attention
    top = None if attention.top == ALL else attention.top
    return WantedColumns(
        tuple(dict.fromkeys(names)),
        with_parameters(TokenVectorParameters(), "parameters", "token_vectors", **vectors.model_dump()),
        with_parameters(
            AttentionParameters(top=None), "parameters", "attention", **attention.model_dump() | {"top": top}
        ),
        probabilities,
    )


class ColumnReplies:
    """Responses with the columns of replies, whose JSON is written in a thread beside the event loop, one at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="columns")

    async def response(self, content: Mapping[str, object], reply: Reply, name: str) -> Response:
        """What a reply's columns hold, row by row, as field `name` of a JSON object, and its windows as `windows`.

        Args:
            content: the other fields; one at least.
        """
        if reply.columns is None:
            return as_json(content)
        parts = await in_thread(self._thread, json_parts, reply.columns, name)
        more = b"".join(b"," + orjson.dumps(field) + b":" + text for field, text in parts.items())
        return Response(orjson.dumps(content)[:-1] + more + b"}", media_type="application/json")


def json_parts(columns: pa.Buffer, name: str) -> Mapping[str, bytes]:
    """JSON of rows and windows, where there are such."""
    with pa.ipc.open_stream(columns) as reader:
        table = reader.read_all()
    of_rows = table.select([column for column in table.column_names if column != WINDOWS])
    parts = {name: rows_json(of_rows)} if of_rows.column_names else {}
    if WINDOWS in table.column_names:
        parts[WINDOWS] = list_json(table[WINDOWS].combine_chunks())
    return parts
