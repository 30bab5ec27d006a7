"""The columns that a model actor adds to the rows of a job: in which jobs, of which type, and made of what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow as pa

from actors.arrays import Ints
from actors.engine.decoding import token_vectors
from actors.engine.decoding.answers import Answers
from actors.engine.decoding.attention import WINDOW
from actors.engine.decoding.attribution import SHARE
from actors.engine.decoding.compact_vectors import compacted, number_type, written_width
from actors.engine.decoding.token_texts import TOKEN
from actors.engine.inference_task import Results, Wanted
from actors.errors import ModelError
from actors.parameters import (
    EmbeddingParameters,
    PoolingName,
    QAParameters,
    TextPart,
    TokenVectorParameters,
    vector_name,
)


@dataclass(frozen=True)
class OutputColumn:
    """A column of the parts. Everything that knows the output's columns reads `OUTPUT_COLUMNS`."""

    name: str
    """No carried column of the input may have it; where `by_name`, none of a job that writes it."""
    is_wanted: Callable[[Wanted], bool]
    """Whether the rows of such a task have it."""
    type: Callable[[Wanted, int], pa.DataType]
    """Of such a task with a model whose embeddings are D wide."""
    values: Callable[[Results, Wanted], pa.Array]
    """Of R rows, in their order; of the type above."""
    by_name: bool = False
    """Whether it is written only where a key of the config names it."""
    of_each_layer: bool = False
    """Whether its type is that of one layer, and it holds a list of them: layers 0 to L."""

    def full_type(self, wanted: Wanted, width: int, layers: int) -> pa.DataType:
        """Of such a task with a model of this width D and so many layers L."""
        type = self.type(wanted, width)
        return pa.list_(type, layers + 1) if self.of_each_layer else type


def wanted_columns(wanted: Wanted) -> tuple[OutputColumn, ...]:
    """The columns of a task, in the order in which they are written.

    Raises:
        ValueError: it asks for nothing that has a column.
    """
    columns = tuple(column for column in OUTPUT_COLUMNS if column.is_wanted(wanted))
    if not columns:
        raise ValueError("a task asks for nothing that has a column: answers, embeddings or others")
    return columns


def to_table(columns: Sequence[OutputColumn], results: Results, wanted: Wanted) -> pa.Table:
    """The values of these columns, one row per row of the shard."""
    return pa.table({column.name: column.values(results, wanted) for column in columns})


@dataclass(frozen=True)
class _AnswerField:
    """A column where there is one answer a row; a field of the list's structs where there are several."""

    name: str
    type: pa.DataType
    values: Callable[[Answers], pa.Array]

    def as_column(self) -> OutputColumn:
        return OutputColumn(
            self.name,
            is_wanted=lambda wanted: wanted.gives_answers and _parameters(wanted).top_k == 1,
            type=lambda wanted, width: self.type,
            values=lambda results, wanted: self.values(_answers(results)),
        )


def _parameters(wanted: Wanted) -> QAParameters:
    if wanted.qa is None:
        raise ValueError("no answers are wanted")
    return wanted.qa


def _answers(results: Results) -> Answers:
    if results.answers is None:
        raise ModelError("the model gave no answers")
    return results.answers


def _place(points: Callable[[Answers], Ints]) -> Callable[[Answers], pa.Array]:
    """Code points of the passage; null where the model abstains."""
    return lambda answers: pa.array(points(answers), type=pa.int32(), mask=np.asarray(answers.start < 0))


_ANSWER_FIELDS = (
    _AnswerField("answer", pa.string(), lambda answers: answers.text),
    _AnswerField("score", pa.float64(), lambda answers: pa.array(answers.score, type=pa.float64())),
    _AnswerField("start", pa.int32(), _place(lambda answers: answers.start)),
    _AnswerField("end", pa.int32(), _place(lambda answers: answers.end)),
)


def _several_answers(results: Results, wanted: Wanted) -> pa.Array:
    answers = _answers(results)
    structs = pa.StructArray.from_arrays(
        [field.values(answers) for field in _ANSWER_FIELDS], [field.name for field in _ANSWER_FIELDS]
    )
    return pa.ListArray.from_arrays(pa.array(answers.offsets), structs)


def vector_names(names: Sequence[str]) -> list[str]:
    """Those of a table's column names that are vectors of texts, in the order in which they are written."""
    return [column.name for column in _VECTOR_COLUMNS if column.name in names]


def _vector_column(part: TextPart, pooling: PoolingName | None) -> OutputColumn:
    """The column of one pooling, or, where `pooling` is None, of whichever is wanted alone."""
    name = vector_name(part, pooling)

    def found(wanted: Wanted) -> EmbeddingParameters:
        if wanted.embedding is None:
            raise ValueError("no embedding is wanted")
        return wanted.embedding

    def is_wanted(wanted: Wanted) -> bool:
        embedding = wanted.embedding
        return embedding is not None and wanted.gives_embeddings and name in embedding.columns

    def type(wanted: Wanted, width: int) -> pa.DataType:
        embedding = found(wanted)
        return pa.list_(pa.from_numpy_dtype(number_type(embedding)), written_width(embedding, width))

    def values(results: Results, wanted: Wanted) -> pa.Array:
        embedding = found(wanted)
        chosen = (part, pooling or embedding.poolings[0])
        for vectors in results.vectors:
            if (vectors.part, vectors.pooling) == chosen:
                numbers = compacted(vectors.values, embedding)
                missing = None if vectors.is_missing is None else pa.array(vectors.is_missing)
                return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), numbers.shape[1], mask=missing)
        raise ModelError("the model gave no embeddings")

    return OutputColumn(name, is_wanted, type, values, by_name=name != "embedding")


_VECTOR_COLUMNS = tuple(
    _vector_column(part, pooling) for part in get_args(TextPart) for pooling in (None, *get_args(PoolingName))
)


def _vector_parameters(wanted: Wanted) -> TokenVectorParameters:
    if wanted.token_vectors is None:
        raise ValueError("no token vectors are wanted")
    return wanted.token_vectors


def _given(values: Callable[[Results], pa.Array | None], what: str) -> Callable[[Results, Wanted], pa.Array]:
    """Values that the results hold as they are written."""

    def found(results: Results, wanted: Wanted) -> pa.Array:
        array = values(results)
        if array is None:
            raise ModelError(f"the model gave no {what}")
        return array

    return found


OUTPUT_COLUMNS: tuple[OutputColumn, ...] = (
    *(field.as_column() for field in _ANSWER_FIELDS),
    OutputColumn(
        "answers",
        is_wanted=lambda wanted: wanted.gives_answers and _parameters(wanted).top_k > 1,
        type=lambda wanted, width: pa.list_(pa.struct([(field.name, field.type) for field in _ANSWER_FIELDS])),
        values=_several_answers,
    ),
    OutputColumn(
        "null_score",
        is_wanted=lambda wanted: wanted.gives_answers and _parameters(wanted).null_score,
        type=lambda wanted, width: pa.float64(),
        values=lambda results, wanted: pa.array(_answers(results).null_score, type=pa.float64()),
    ),
    *_VECTOR_COLUMNS,
    OutputColumn(
        "tokens",
        is_wanted=lambda wanted: wanted.token_texts,
        type=lambda wanted, width: pa.list_(TOKEN),
        values=_given(lambda results: results.token_texts, "tokens"),
        by_name=True,
    ),
    OutputColumn(
        "token_vectors",
        is_wanted=lambda wanted: wanted.token_vectors is not None,
        type=lambda wanted, width: token_vectors.column_type(_vector_parameters(wanted), width),
        values=_given(lambda results: results.token_vectors, "token vectors"),
        by_name=True,
    ),
    OutputColumn(
        "hidden",
        is_wanted=lambda wanted: wanted.layer_vectors,
        type=lambda wanted, width: pa.list_(pa.float32(), width),
        values=_given(lambda results: results.layer_vectors, "hidden states"),
        by_name=True,
        of_each_layer=True,
    ),
    OutputColumn(
        "attention",
        is_wanted=lambda wanted: wanted.attention is not None,
        type=lambda wanted, width: pa.list_(WINDOW),
        values=_given(lambda results: results.attention, "attention"),
        by_name=True,
    ),
    OutputColumn(
        "attribution",
        is_wanted=lambda wanted: wanted.attribution,
        type=lambda wanted, width: pa.list_(SHARE),
        values=_given(lambda results: results.attribution, "attribution"),
        by_name=True,
    ),
)
"""In the order in which they are written, after id and the carried columns."""
