"""The engine as classes for Ray Data's own `Dataset.map_batches`, for pipelines that run on Ray already.

    import ray, spanmill.ray

    rows = ray.data.read_parquet("s3://bucket/questions/")
    rows.map_batches(
        spanmill.ray.Answer,
        fn_constructor_kwargs={"top_k": 1},
        compute=ray.data.ActorPoolStrategy(size=4),
        num_gpus=1,
        batch_size=2048,
    ).write_parquet("s3://bucket/answers/")

What a job of `spanmill answer` adds to it, such as shards of equal cost, quarantine and resuming, is left to the
pipeline that calls this. A batch is what is tokenised and sorted together: make it some thousand rows.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa
from ray.data.block import BlockAccessor

from actors.engine.inference_task import Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.parameters import EmbeddingParameters, PoolingName, QAParameters
from actors.tokenization.preprocess import Rejected, prepare_pairs, prepare_texts
from spanmill.arguments import checked, kind_of, text_array
from spanmill.model import DEFAULT_MODEL, open_engine

_OPTIONS = ("device", "dtype", "revision", "storage", "threads")


class _Mapper:
    """What both classes share: the model, and joining the results to the rows."""

    def __init__(
        self,
        model: str | PathLike[str],
        wanted: Wanted,
        columns: tuple[str, ...],
        prefix: str,
        options: dict[str, Any],
    ) -> None:
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise TypeError(f"options: unknown {', '.join(map(repr, unknown))}; there are {', '.join(_OPTIONS)}")
        self._engine = open_engine(model, wanted.qa is not None, **options)
        self._wanted = wanted
        self._columns = columns
        self._added = wanted_columns(wanted)
        self._prefix = prefix

    def __call__(self, batch: Any) -> pa.Table:
        """The rows of a batch and their results.

        Args:
            batch: as any `batch_format` gives it: a dict of arrays, an Arrow table, or a data frame.

        Raises:
            KeyError, TypeError: a column is missing, or holds something else than strings; the message names it.
            ValueError: the rows have a column of a result's name already.
        """
        table = _table(batch)
        names = [column.name for column in self._added]
        _check_free(table, names, self._prefix)
        texts = [text_array(_values(table, name), name) for name in self._columns]
        if self._wanted.qa is None:
            assert self._wanted.embedding is not None
            prepared, rejected = prepare_texts(self._engine.spec, self._wanted.embedding, texts[0])
        else:
            prepared, rejected = prepare_pairs(self._engine.spec, self._wanted.qa, *texts)
        results = self._engine.finish(self._engine.begin(prepared, self._wanted))
        found = to_table(self._added, results, self._wanted)
        found = found.take(_places(len(table), rejected))
        for name in names:
            table = table.append_column(f"{self._prefix}{name}", found[name])
        return table


class Answer(_Mapper):
    """Adds the answers to rows of questions and passages; null where a row holds nothing that could be answered."""

    def __init__(
        self,
        model: str | PathLike[str] = DEFAULT_MODEL,
        *,
        question: str = "question",
        context: str = "context",
        prefix: str = "",
        options: dict[str, Any] | None = None,
        **qa: Any,
    ) -> None:
        """Loads the model, in each actor of the pool.

        Args:
            model: `minilm-qa`, the one that ships; a local folder, a Hugging Face hub id, or an fsspec URL.
            question, context: columns of the rows.
            prefix: begins the names of the columns that are added, where the rows have some of these names already.
            options: `device`, `precision`, `revision`, `threads` and `storage`, as those of `QuestionAnswering`.
            qa: as `qa.*` of a job's config, such as `top_k`.

        Raises:
            ModelError: the model cannot be found or used.
            TypeError: there is no such parameter.
            ValueError: a parameter has no such value, or the actor has no such device.
        """
        wanted = Wanted(checked(QAParameters, qa))
        super().__init__(model, wanted, (question, context), prefix, options or {})


class Embed(_Mapper):
    """Adds `embedding` to rows of texts, or `embedding_mean` and the like of several poolings; null without a token."""

    def __init__(
        self,
        model: str | PathLike[str] = DEFAULT_MODEL,
        *,
        text: str = "text",
        pooling: PoolingName | Sequence[PoolingName] = "mean",
        normalize: bool = True,
        prefix: str = "",
        options: dict[str, Any] | None = None,
        **embedding: Any,
    ) -> None:
        """Loads the model, in each actor of the pool.

        Args:
            model: `minilm-qa`, the one that ships; a local folder, a Hugging Face hub id, or an fsspec URL.
            text: column of the rows.
            pooling, normalize, embedding: as `embedding.*` of a job's config.
            prefix: begins the name of the column that is added, where the rows have an `embedding` already.
            options: `device`, `precision`, `revision`, `threads` and `storage`, as those of `QuestionAnswering`.

        Raises:
            ModelError: the model cannot be found or used.
            TypeError: there is no such parameter.
            ValueError: a parameter has no such value, or the actor has no such device.
        """
        parameters = checked(EmbeddingParameters, {"pooling": pooling, "normalize": normalize, **embedding})
        if parameters.of != "passage":
            raise ValueError("of is for questions and passages, and these rows are texts; leave it out")
        super().__init__(model, Wanted(embedding=parameters), (text,), prefix, options or {})


def _table(batch: Any) -> pa.Table:
    if isinstance(batch, pa.Table):
        return batch
    if isinstance(batch, dict):
        # As Ray itself does it, which knows columns of tensors.
        return BlockAccessor.batch_to_arrow_block(batch)
    if not hasattr(batch, "columns"):
        raise TypeError(
            f"the batch is {kind_of(batch)}; hand this class to Dataset.map_batches, whose batches are dicts of "
            "arrays, Arrow tables or data frames"
        )
    return pa.Table.from_pandas(batch, preserve_index=False)


def _check_free(table: pa.Table, names: Sequence[str], prefix: str) -> None:
    """Raises ValueError where a result would take the place of a column that the rows have, or stand beside it."""
    taken = [f"{prefix}{name}" for name in names if f"{prefix}{name}" in table.column_names]
    if taken:
        raise ValueError(
            f"the rows have a column {taken[0]!r} already, and a result of this name is to be added. Drop or rename "
            "theirs, or name the results otherwise, with prefix='model_' for example"
        )


def _values(table: pa.Table, name: str) -> list[object]:
    if name not in table.column_names:
        raise KeyError(f"the rows have no column {name!r}; they have {', '.join(table.column_names)}")
    values: list[object] = table[name].to_pylist()
    # An empty text holds no token, and its row gets null.
    return ["" if value is None else value for value in values]


def _places(rows: int, rejected: Rejected) -> pa.Array:
    """[rows] number of each row's results, null for rows that have none."""
    has_none = np.zeros(rows, dtype=bool)
    has_none[rejected.rows] = True
    return pa.array(np.cumsum(~has_none) - 1, mask=has_none)
