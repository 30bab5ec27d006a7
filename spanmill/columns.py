"""Columns of all that an encoder gives, as Python and NumPy have them: one dict for each row."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from actors.engine.inference_task import Wanted
from actors.parameters import AttentionParameters, EmbeddingParameters, QAParameters, TokenVectorParameters
from spanmill.arguments import checked

Array = npt.NDArray[Any]


def chosen_columns(names: str | Sequence[str], known: Sequence[str], what: str) -> tuple[str, ...]:
    """The columns that are asked for, in the caller's order.

    Args:
        known: those that there are.
        what: the argument, for errors.

    Raises:
        TypeError: they are no names.
        ValueError: there is no such column, or none is named, or one twice.
    """
    given = (names,) if isinstance(names, str) else names
    if not isinstance(given, Iterable):
        raise TypeError(f"{what} is {type(names).__name__}; give a name, or a list of them: {', '.join(known)}")
    chosen = tuple(given)
    for name in chosen:
        if name not in known:
            raise ValueError(f"{what}: {name!r} is no column; there are {', '.join(known)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"{what} names {'one twice' if chosen else 'nothing'}; name each once: {', '.join(known)}")
    return chosen


def wanted_of_columns(
    chosen: Sequence[str],
    embedding: EmbeddingParameters,
    qa: QAParameters | None,
    token_vectors: Mapping[str, object] | None = None,
    attention: Mapping[str, object] | None = None,
) -> Wanted:
    """What the model is asked for these columns.

    Args:
        qa: how questions are asked, whose answers are wanted then; None of texts alone.
        token_vectors, attention: as the groups of a job's config.

    Raises:
        TypeError, ValueError: a parameter is unknown, or has no such value.
    """
    of_tokens = checked(TokenVectorParameters, token_vectors or {}) if "token_vectors" in chosen else None
    return Wanted(
        qa,
        embedding if "embedding" in chosen or "hidden" in chosen else None,
        embeddings="embedding" in chosen,
        token_texts="tokens" in chosen,
        token_vectors=of_tokens,
        layer_vectors="hidden" in chosen,
        attention=checked(AttentionParameters, attention or {}) if "attention" in chosen else None,
        attribution="attribution" in chosen,
    )


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The values of every row, by the names of their columns.

    Vectors are arrays: [D] of a text, [T, D] of its tokens (those of int8 a dict of `values` and `scales`), [L + 1, D]
    of the layers. `attention` is a list of windows, dicts whose `weights` are [layers, heads, S, K], of the K tokens in
    `targets`, or of all S where `targets` is None. All else is as Arrow's `to_pylist` gives it.
    """
    columns = [_values(name, table[name].combine_chunks()) for name in table.column_names]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(name: str, column: pa.Array) -> Sequence[Any]:
    if name == "attention":
        windows = [_window(window) for window in column.values]
        return [windows[first:stop] for first, stop in _bounds(column)]
    if name == "token_vectors" and pa.types.is_struct(column.type):
        values, scales = (_values("", column.field(field)) for field in ("values", "scales"))
        return [{"values": v, "scales": s} for v, s in zip(values, scales, strict=True)]
    if pa.types.is_list(column.type) and _is_numbers(column.type.value_type):
        numbers = _numbers(column.values)
        return [numbers[first:stop] for first, stop in _bounds(column)]
    if pa.types.is_fixed_size_list(column.type) and _is_numbers(column.type) and not column.null_count:
        return list(_numbers(column))
    found: list[Any] = column.to_pylist()
    return found


def _window(window: pa.StructScalar) -> dict[str, Any]:
    """One window of attention, its weights and targets in the shape that they have."""
    told = {name: window[name].as_py() for name in ("first", "tokens", "layers", "heads", "top")}
    shape = len(told["layers"]), told["heads"], len(told["tokens"]), -1
    arrays = {
        name: window[name].values.to_numpy(zero_copy_only=False).reshape(shape) if window[name].is_valid else None
        for name in ("targets", "weights")
    }
    return {**told, **arrays}


def _bounds(column: pa.ListArray) -> Iterable[tuple[int, int]]:
    offsets = column.offsets.to_numpy()
    return zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)


def _is_numbers(type: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(type):
        return _is_numbers(type.value_type)
    return bool(pa.types.is_floating(type) or pa.types.is_integer(type))


def _numbers(column: pa.Array) -> Array:
    """[N, ...]"""
    shape = [len(column)]
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.flatten()
    found: Array = column.to_numpy(zero_copy_only=False).reshape(shape)
    return found
