"""Tensors of the Open Inference Protocol: columns of texts in, columns of answers or a matrix of embeddings out."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from actors.arrays import Floats
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import wanted_columns
from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.gateway.protocols.bodies.schema import Body, Many, OneOrMany
from actors.serving.types import ModelCard, Refused, Reply

_ANSWERED = ("question", "context")
_EMBEDDED = ("text",)
_VALUES: dict[str, Callable[[Reply], Sequence[object] | Floats]] = {
    "answer": lambda reply: [spans[0].text or "" for spans in reply.spans],
    "score": lambda reply: [spans[0].score for spans in reply.spans],
    "start": lambda reply: [spans[0].start for spans in reply.spans],
    "end": lambda reply: [spans[0].end for spans in reply.spans],
    "null_score": lambda reply: reply.null_scores,
    "embedding": lambda reply: np.asarray(reply.embeddings),
}
"""What a reply holds of the output's columns, by their names: of the best answers [n], of embeddings [n, D]."""


def _datatype(type: pa.DataType) -> str:
    """Of a column's values, of which an embedding holds several; JSON has one kind of integer."""
    if pa.types.is_fixed_size_list(type):
        return _datatype(type.value_type)
    if pa.types.is_integer(type):
        return "INT64"
    return {pa.string(): "BYTES", pa.float64(): "FP64", pa.float32(): "FP32"}[type]


def _datatypes(wanted: Wanted) -> dict[str, str]:
    columns = [column for column in wanted_columns(wanted) if column.name in _VALUES]
    return {column.name: _datatype(column.type(wanted, 1)) for column in columns}


_ANSWER_TYPES = _datatypes(Wanted(qa=QAParameters(null_score=True)))
_EMBEDDING_TYPES = _datatypes(Wanted(embedding=EmbeddingParameters()))
ANSWERS = tuple(_ANSWER_TYPES)
"""Outputs of a request for answers."""
EMBEDDINGS = tuple(_EMBEDDING_TYPES)
"""Outputs of a request for embeddings."""


def _without_header(size: int | None) -> int | None:
    if size is not None:
        raise PydanticCustomError(
            "binary",
            "bytes behind the JSON want the header Inference-Header-Content-Length, which says where they begin; "
            "send it, or the strings as data (tritonclient: set_data_from_numpy(..., binary_data=False))",
        )
    return size


class InputParameters(Body):
    """Taken for clients that send them."""

    content_type: Literal["str"] | None = None
    binary_data_size: Annotated[int | None, AfterValidator(_without_header)] = None
    """Bytes of this tensor behind the JSON. They have become `data` where the header says where the JSON ends."""


class OutputParameters(Body):
    """How an output comes."""

    binary_data: bool | None = None
    """Whether it comes as bytes behind the JSON; null is as `binary_data_output` says."""


class InputTensor(Body):
    """A column of texts."""

    name: Literal["question", "context", "text"]
    shape: Many[int]
    """[n] or [n, 1]."""
    datatype: Literal["BYTES"]
    data: Many[OneOrMany[str]]
    """n strings, or n lists of one string."""
    parameters: InputParameters | None = None


class OutputTensor(Body):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters | None = None


def columns(tensors: Sequence[InputTensor]) -> dict[str, list[str]]:
    """The texts of every input by its name; all inputs have the same number of texts.

    Raises:
        Refused: they are neither questions with their contexts nor texts, or their shapes are not those of columns.
    """
    columns: dict[str, list[str]] = {}
    for place, tensor in enumerate(tensors):
        if tensor.name in columns:
            raise Refused.of_field(f"inputs.{place}.name", f"{tensor.name} is there twice; send it once")
        columns[tensor.name] = _elements(f"inputs.{place}", tensor)
    if set(columns) not in (set(_ANSWERED), set(_EMBEDDED)):
        raise Refused.of_field("inputs", "send question and context to get answers, or text to get embeddings")
    if len(rows := {len(column) for column in columns.values()}) > 1:
        raise Refused.of_field("inputs", f"question and context have {min(rows)} and {max(rows)} rows; send pairs")
    return columns


def _elements(place: str, tensor: InputTensor) -> list[str]:
    items = [one for item in tensor.data for one in ([item] if isinstance(item, str) else item)]
    n = len(items)
    if tensor.shape not in ([n], [n, 1]):
        raise Refused.of_field(
            f"{place}.shape", f"{str(tensor.shape)[:40]} is not that of {n} strings; send [{n}] or [{n}, 1]"
        )
    return items


def check_outputs(outputs: Sequence[OutputTensor] | None, known: Sequence[str]) -> None:
    """Raises Refused where a requested output is not among the known ones."""
    for place, output in enumerate(outputs or ()):
        if output.name not in known:
            raise Refused.of_field(
                f"outputs.{place}.name", f"these inputs give {', '.join(known)}, not {output.name[:100]!r}"
            )


def answered(reply: Reply) -> list[dict[str, object]]:
    """The best answer of every row, in columns of [n]."""
    return [_output(name, datatype, reply) for name, datatype in _ANSWER_TYPES.items()]


def embedded(reply: Reply) -> list[dict[str, object]]:
    """The embeddings, [n, D]."""
    return [_output(name, datatype, reply) for name, datatype in _EMBEDDING_TYPES.items()]


def _output(name: str, datatype: str, reply: Reply) -> dict[str, object]:
    values = _VALUES[name](reply)
    if isinstance(values, np.ndarray):
        return {"name": name, "shape": values.shape, "datatype": datatype, "data": values.reshape(-1)}
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values}


def metadata(card: ModelCard, name: str) -> dict[str, object]:
    """The metadata of the model: the tensors that it takes and gives."""
    inputs = (*_ANSWERED, *_EMBEDDED) if card.answers else _EMBEDDED
    outputs = [_tensor(output, kind) for output, kind in _ANSWER_TYPES.items()] if card.answers else []
    vectors = [_tensor(output, kind, card.hidden_size) for output, kind in _EMBEDDING_TYPES.items()]
    return {
        "name": name,
        "platform": "spanmill_transformers",
        "inputs": [_tensor(one, "BYTES") for one in inputs],
        "outputs": [*outputs, *vectors],
        "properties": {"fingerprint": card.fingerprint, "architecture": card.architecture, "dtype": card.dtype},
    }


def _tensor(name: str, datatype: str, *width: int) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": [-1, *width]}
