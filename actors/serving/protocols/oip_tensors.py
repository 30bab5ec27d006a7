"""Tensors of the Open Inference Protocol: columns of texts in, columns of answers or a matrix of embeddings out."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from actors.serving.protocols.schema import Body, Many, OneOrMany
from actors.serving.types import ModelCard, Refused, Reply

_ANSWERED = ("question", "context")
_EMBEDDED = ("text",)
_DATATYPES = {"answer": "BYTES", "score": "FP64", "start": "INT64", "end": "INT64", "null_score": "FP64"}
ANSWERS = tuple(_DATATYPES)
"""Outputs of a request for answers."""
EMBEDDINGS = ("embedding",)
"""Outputs of a request for embeddings."""


class InputParameters(Body):
    """Taken for clients that send them."""

    content_type: Literal["str"] | None = None


class OutputParameters(Body):
    """Taken for clients that send them."""

    binary_data: Literal[False] | None = None


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
    best = [spans[0] for spans in reply.spans]
    columns: dict[str, Sequence[object]] = {
        "answer": [span.text or "" for span in best],
        "score": [span.score for span in best],
        "start": [span.start for span in best],
        "end": [span.end for span in best],
        "null_score": reply.null_scores,
    }
    return [
        {"name": name, "shape": [len(best)], "datatype": _DATATYPES[name], "data": data}
        for name, data in columns.items()
    ]


def embedded(reply: Reply) -> list[dict[str, object]]:
    """The embeddings, [n, D]."""
    vectors = np.asarray(reply.embeddings)
    return [{"name": "embedding", "shape": vectors.shape, "datatype": "FP32", "data": vectors.reshape(-1)}]


def metadata(card: ModelCard, name: str) -> dict[str, object]:
    """The metadata of the model: the tensors that it takes and gives."""
    inputs = (*_ANSWERED, *_EMBEDDED) if card.answers else _EMBEDDED
    outputs = [_tensor(output, kind) for output, kind in _DATATYPES.items()] if card.answers else []
    return {
        "name": name,
        "platform": "spanmill_transformers",
        "inputs": [_tensor(one, "BYTES") for one in inputs],
        "outputs": [*outputs, _tensor("embedding", "FP32", card.hidden_size)],
        "properties": {"fingerprint": card.fingerprint, "architecture": card.architecture, "dtype": card.dtype},
    }


def _tensor(name: str, datatype: str, *width: int) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": [-1, *width]}
