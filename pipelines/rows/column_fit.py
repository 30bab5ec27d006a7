"""Carried values in the type that their column has in the output: as they were, as text, or null and said to be so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.rows.column_cast import cast_column
from pipelines.rows.plain_arrays import Lists, struct_of
from pipelines.rows.spelling import spelled, text_of

Bools = NDArray[np.bool_]

_INTEGER = r"^-?(0|[1-9]\d*)$"
_NUMBER = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$"
_TIME = r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?$"
# Of so many digits, every decimal number is another double.
_DOUBLE_DIGITS = 15


@dataclass(frozen=True)
class Fitted:
    """A column in its type."""

    array: pa.Array
    """Null where a value does not fit, as a whole: half of a list would pass for the list."""

    lost: Bools
    """[N] true where a value does not fit."""

    spelled: Bools
    """[N] true where a value is text that was none, or holds such text."""

    @classmethod
    def whole(cls, array: pa.Array) -> "Fitted":
        """Nothing happened to any value."""
        return cls(array, _no(array), _no(array))

    @classmethod
    def where(cls, array: pa.Array, fits: Bools, source: pa.Array) -> "Fitted":
        """Those of a source's values that fit, and are in `array`."""
        lost = _valid(source) & ~fits
        return cls(_nulled(array, lost), lost, _no(array))


def fit(array: pa.Array, type: pa.DataType) -> Fitted:
    """A plain array (`plain_arrays.plain`) in a type that `SeenTypes.unified` gave, or a config.

    A number fits where the type holds exactly that number, and text where it spells a value of the type. A list fits
    where all its elements do, and a struct where its fields do, and no field is too many that has a value.
    """
    source = array.type
    if source == type:
        return Fitted.whole(array)
    if pa.types.is_null(source):
        return Fitted.whole(pa.nulls(len(array), type))
    if pa.types.is_floating(source) and not pa.types.is_floating(type):
        # That is how a table of numbers says null.
        array = _nulled(array, np.isnan(array.to_numpy(zero_copy_only=False)))
    if _is_text(type):
        return _as_text(array, type)
    if pa.types.is_nested(type):
        return _nested(array, type)
    if _is_text(source):
        return _parsed(array.cast(pa.string()), type)
    if _is_number(source) and _is_number(type):
        return _number(array, type)
    return _cast(array, type) if _family(source) == _family(type) is not None else _nothing(array, type)


def fit_values(values: Sequence[Any], type: pa.DataType) -> Fitted:
    """As `fit`, of JSON values: None, bool, int of any length, float, str, list and dict."""
    if pa.types.is_struct(type):
        return _structs_of_values(values, type)
    if _is_list(type):
        return _lists_of_values(values, type)
    kinds = {value.__class__ for value in values if value is not None}
    if len(kinds) < 2:
        return _of_one_kind(values, kinds.pop() if kinds else None, type)
    fitted, places = [], []
    for kind in sorted(kinds, key=str):
        rows = [row for row, value in enumerate(values) if value.__class__ is kind]
        fitted.append(_of_one_kind([values[row] for row in rows], kind, type))
        places.append(rows)
    order = np.full(len(values), -1)
    order[list(chain.from_iterable(places))] = np.arange(sum(map(len, places)))
    lost, added = (_scattered([getattr(one, name) for one in fitted], order) for name in ("lost", "spelled"))
    joined = pa.concat_arrays([one.array for one in fitted])
    return Fitted(joined.take(pa.array(order, mask=order < 0)), lost, added)


def _scattered(parts: Sequence[Bools], order: NDArray[np.int64]) -> Bools:
    flags: Bools = np.append(np.concatenate(parts), False)[order]
    return flags


def _of_one_kind(values: Sequence[Any], kind: Any, type: pa.DataType) -> Fitted:
    if kind is None:
        return Fitted.whole(pa.nulls(len(values), type))
    if kind in (list, dict):
        if not _is_text(type):
            return _nothing(pa.array([value is not None or None for value in values], pa.bool_()), type)
        texts = [None if value is None else _spelled_or_none(value) for value in values]
        present = np.array([value is not None for value in values], bool)
        array = pa.array(texts, type)
        return Fitted(array, present & ~_valid(array), present & _valid(array))
    try:
        return fit(pa.array(values), type)
    except OverflowError:
        # Integers beyond 64 bits come as what they are spelled.
        texts = pa.array([None if value is None else str(value) for value in values], pa.string())
        fitted = fit(texts, type)
        return Fitted(fitted.array, fitted.lost, _valid(fitted.array) if _is_text(type) else fitted.spelled)


def _spelled_or_none(value: Any) -> str | None:
    try:
        return spelled(value)
    except RecursionError:
        return None


def _structs_of_values(values: Sequence[Any], type: pa.StructType) -> Fitted:
    dicts = [value if value.__class__ is dict else None for value in values]
    names = {field.name for field in type}
    fields = [(field, [None if one is None else one.get(field.name) for one in dicts]) for field in type]
    children = [fit_values(some, field.type) for field, some in fields]
    is_foreign = np.array([value is not None and value.__class__ is not dict for value in values], bool)
    has_more = np.array(
        [one is not None and any(one[name] is not None for name in one.keys() - names) for one in dicts], bool
    )
    like = pa.array([True if one is not None else None for one in dicts], pa.bool_())
    return _struct(children, type, like, is_foreign | has_more)


def _lists_of_values(values: Sequence[Any], type: pa.DataType) -> Fitted:
    lists = [value if value.__class__ is list else None for value in values]
    is_foreign = np.array([value is not None and value.__class__ is not list for value in values], bool)
    lengths = np.array([0 if one is None else len(one) for one in lists], np.int64)
    valid = np.array([one is not None for one in lists], bool)
    child = fit_values(list(chain.from_iterable(one for one in lists if one)), type.value_type)
    return _list(lengths, valid, child, type, is_foreign)


def _nested(array: pa.Array, type: pa.DataType) -> Fitted:
    source = array.type
    if pa.types.is_struct(type) and pa.types.is_struct(source):
        given = dict(zip((field.name for field in source), array.flatten(), strict=True))
        empty = pa.nulls(len(array))
        children = [fit(given.pop(field.name, empty), field.type) for field in type]
        too_many = np.zeros(len(array), bool)
        for child in given.values():
            too_many |= _valid(child)
        return _struct(children, type, array, too_many)
    if pa.types.is_map(type) and pa.types.is_map(source):
        return _map(Lists.of_map(array), type)
    if _is_list(type) and _is_list(source):
        lists = Lists.of(array)
        return _list(lists.lengths, lists.valid, fit(lists.child, type.value_type), type, np.zeros(len(array), bool))
    return _nothing(array, type)


def _struct(children: Sequence[Fitted], type: pa.StructType, like: pa.Array, lost: Bools) -> Fitted:
    """A struct of fitted fields; `lost` are those that do not fit whatever their fields do."""
    added = np.zeros(len(lost), bool)
    for child in children:
        lost, added = lost | child.lost, added | child.spelled
    array = struct_of([child.array for child in children], type, like)
    return Fitted(_nulled(array, lost), lost, added & ~lost)


def _list(lengths: NDArray[np.int64], valid: Bools, child: Fitted, type: pa.DataType, lost: Bools) -> Fitted:
    array, lists = child.array, Lists(lengths, valid, child.array)
    lost = lost | _any_of(lists, child.lost)
    added = _any_of(lists, child.spelled)
    if pa.types.is_fixed_size_list(type):
        wrong = valid & (lengths != type.list_size)
        if wrong.any():
            lost, kept = lost | wrong, valid & ~wrong
            array = array.take(pa.array(np.flatnonzero(np.repeat(kept, lengths))))
            lists = Lists(np.where(kept, lengths, 0), kept, array)
    return Fitted(_nulled(lists.with_child(array, type), lost), lost, added & ~lost)


def _map(lists: Lists, type: pa.MapType) -> Fitted:
    keys, items = lists.child.flatten()
    fitted_keys, fitted_items = fit(keys, type.key_type), fit(items, type.item_type)
    lost = _any_of(lists, fitted_keys.lost | fitted_items.lost)
    added = _any_of(lists, fitted_keys.spelled | fitted_items.spelled) & ~lost
    # A key cannot be null, so those of maps that are lost are left out with all that is in them.
    kept = ~lost
    chosen = pa.array(np.flatnonzero(np.repeat(kept, lists.lengths)))
    rest = Lists(np.where(kept, lists.lengths, 0), lists.valid & kept, lists.child)
    array = rest.as_map(fitted_keys.array.take(chosen), fitted_items.array.take(chosen))
    return Fitted(array, lost, added)


def _any_of(lists: Lists, flags: Bools) -> Bools:
    """[N] true for the lists that have an element with the flag."""
    found = np.zeros(len(lists.lengths), bool)
    if flags.any():
        found[lists.rows[flags]] = True
    return found


def _as_text(array: pa.Array, type: pa.DataType) -> Fitted:
    texts = text_of(array).cast(type)
    return Fitted(texts, _no(array), _no(array) if _is_text(array.type) else _valid(texts))


def _parsed(texts: pa.Array, type: pa.DataType) -> Fitted:
    """Text that spells values of the type as JSON would: 02134 is no number."""
    if pa.types.is_boolean(type):
        is_one = pc.is_in(texts, pa.array(["true", "false"]))
        return _where_spelled(texts, is_one, type)
    if pa.types.is_integer(type):
        return _where_spelled(texts, pc.match_substring_regex(texts, _INTEGER), type)
    if pa.types.is_floating(type):
        doubles = _where_spelled(texts, pc.match_substring_regex(texts, _NUMBER), pa.float64())
        exact = _same_integers(texts, doubles.array) & ~doubles.lost
        return _chained(Fitted.where(doubles.array, exact, texts), type)
    if pa.types.is_decimal(type):
        return _where_spelled(texts, pc.match_substring_regex(texts, _NUMBER), type)
    if pa.types.is_time(type):
        return _time(texts, type)
    if pa.types.is_duration(type):
        return _duration(texts, type)
    return _cast(texts, type) if pa.types.is_temporal(type) else _nothing(texts, type)


def _where_spelled(texts: pa.Array, is_spelled: pa.Array, type: pa.DataType) -> Fitted:
    """Casts the texts that are spelled so; the others are lost."""
    fits = is_spelled.fill_null(False).to_numpy(zero_copy_only=False)
    kept = _nulled(texts, _valid(texts) & ~fits)
    done = _cast(kept, type)
    return Fitted.where(done.array, fits & ~done.lost, texts)


def _time(texts: pa.Array, type: pa.DataType) -> Fitted:
    """Times of day; Arrow reads them as part of a timestamp only."""
    # A fraction's last zeros are no digits that a unit would have to hold.
    short = pc.replace_substring_regex(pc.replace_substring_regex(texts, r"(\.\d*?)0+$", r"\1"), r"\.$", "")
    stamps = pc.binary_join_element_wise("1970-01-01T", short, "")
    is_time = pc.match_substring_regex(texts, _TIME).fill_null(False).to_numpy(zero_copy_only=False)
    done = _cast(_nulled(stamps, _valid(texts) & ~is_time), pa.timestamp(type.unit))
    return Fitted.where(done.array.cast(type), is_time & ~done.lost, texts)


def _duration(texts: pa.Array, type: pa.DataType) -> Fitted:
    """Numbers with their units, as `spelling` writes them."""
    array, fits = pa.nulls(len(texts), type), np.zeros(len(texts), bool)
    for unit in ("s", "ms", "us", "ns"):
        is_one = pc.match_substring_regex(texts, rf"^-?\d{{1,18}}{unit}$").fill_null(False)
        found = is_one.to_numpy(zero_copy_only=False)
        numbers = _nulled(pc.replace_substring_regex(texts, "[a-z]+$", ""), ~found)
        done = _cast(numbers.cast(pa.int64()).cast(pa.duration(unit)), type)
        array, fits = pc.coalesce(array, done.array), fits | (found & ~done.lost)
    return Fitted.where(array, fits, texts)


def _same_integers(texts: pa.Array, doubles: pa.Array) -> Bools:
    """[N] whether a double is the integer that a text spells; true for what spells no integer."""
    same: Bools = np.isfinite(doubles.fill_null(0).to_numpy(zero_copy_only=False))
    is_long = pc.and_(pc.match_substring_regex(texts, _INTEGER), pc.greater(pc.utf8_length(texts), _DOUBLE_DIGITS))
    for row in np.flatnonzero(is_long.fill_null(False).to_numpy(zero_copy_only=False)):
        number = doubles[row].as_py()
        same[row] = number is not None and np.isfinite(number) and int(number) == int(texts[row].as_py())
    return same


def _chained(first: Fitted, type: pa.DataType) -> Fitted:
    """A further step after one that has lost some."""
    then = fit(first.array, type)
    return Fitted(then.array, first.lost | then.lost, first.spelled | then.spelled)


def _number(array: pa.Array, type: pa.DataType) -> Fitted:
    source = array.type
    if pa.types.is_decimal(type):
        # By way of text: casts of integers judge a type by its widest value, and those of doubles are not exact.
        return _cast(array if pa.types.is_decimal(source) else text_of(array), type, source=array)
    if pa.types.is_decimal(source):
        return _decimal_as_double(array, type) if pa.types.is_floating(type) else _cast(array, type)
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    wanted = np.dtype(type.to_pandas_dtype())
    fits = _fits_floating(values, wanted) if pa.types.is_floating(type) else _fits_integer(values, wanted)
    numbers = np.where(fits, values, values.dtype.type(0)).astype(wanted)
    return Fitted.where(pa.array(numbers, type, mask=~_valid(array)), fits, array)


def _fits_floating(values: NDArray[Any], wanted: np.dtype[Any]) -> Bools:
    fits: Bools
    with np.errstate(over="ignore"):
        numbers = values.astype(wanted)
    if values.dtype.kind == "f":
        fits = (numbers.astype(values.dtype) == values) | np.isnan(values)
        return fits
    # Casting back beyond the integers' range gives no number at all.
    widest, bits = (np.uint64, 64) if values.dtype.kind == "u" else (np.int64, 63)
    inside = np.abs(numbers.astype(np.float64)) < 2.0**bits
    back = np.where(inside, numbers, wanted.type(0)).astype(widest)
    least = values == np.iinfo(values.dtype).min
    fits = (inside & (back == values)) | (least & np.isfinite(numbers))
    return fits


def _fits_integer(values: NDArray[Any], wanted: np.dtype[Any]) -> Bools:
    fits: Bools
    bounds = np.iinfo(wanted)
    if values.dtype.kind == "f":
        doubles = values.astype(np.float64)
        is_whole = np.isfinite(doubles) & (np.trunc(doubles) == doubles)
        fits = is_whole & (doubles >= float(bounds.min)) & (doubles < float(bounds.max) + 1.0)
        return fits
    not_too_small = values.astype(np.int64) >= bounds.min
    not_too_large = values.astype(np.uint64) <= np.uint64(bounds.max)
    fits = np.where(values < 0, not_too_small, not_too_large)
    return fits


def _decimal_as_double(array: pa.Array, type: pa.DataType) -> Fitted:
    texts = array.cast(pa.string())
    doubles = texts.cast(pa.float64())
    fits = np.ones(len(array), bool)
    if array.type.precision > _DOUBLE_DIGITS:
        is_long = pc.greater(pc.utf8_length(texts), _DOUBLE_DIGITS).fill_null(False)
        for row in np.flatnonzero(is_long.to_numpy(zero_copy_only=False)):
            fits[row] = Decimal(repr(doubles[row].as_py())) == Decimal(texts[row].as_py())
    return _chained(Fitted.where(doubles, fits, array), type)


def _cast(array: pa.Array, type: pa.DataType, source: pa.Array | None = None) -> Fitted:
    """Arrow's own cast, value by value where it fails."""
    column, errors = cast_column(pa.chunked_array([array]), lambda values: values.cast(type), type)
    fits = np.ones(len(array), bool)
    fits[list(errors)] = False
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, type)
    return Fitted.where(whole, fits & (_valid(whole) | ~_valid(array)), array if source is None else source)


def _nothing(array: pa.Array, type: pa.DataType) -> Fitted:
    """Not one value fits."""
    return Fitted(pa.nulls(len(array), type), _valid(array), _no(array))


def _nulled(array: pa.Array, lost: Bools) -> pa.Array:
    return array.take(pa.array(np.arange(len(array)), mask=lost)) if lost.any() else array


def _valid(array: pa.Array) -> Bools:
    valid: Bools = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _no(array: pa.Array) -> Bools:
    return np.zeros(len(array), bool)


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))


def _is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type))


def _is_number(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type))


_FAMILIES: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_duration,
    lambda type: pa.types.is_timestamp(type) and type.tz is None,
    lambda type: pa.types.is_timestamp(type) and type.tz is not None,
    lambda type: pa.types.is_binary(type) or pa.types.is_large_binary(type) or pa.types.is_fixed_size_binary(type),
)


def _family(type: pa.DataType) -> int | None:
    """Number of the kind of values whose types cast to one another."""
    return next((number for number, is_one in enumerate(_FAMILIES) if is_one(type)), None)
