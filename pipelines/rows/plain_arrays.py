"""Arrow arrays without dictionaries, views and extension types, for which Arrow lacks kernels, at any depth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in plain types. Text is not looked at: bytes that are not UTF-8 stay what they are."""
    if _is_plain(column.type):
        return column
    chunks = [plain(chunk) for chunk in column.chunks]
    return pa.chunked_array(chunks or [plain(pa.nulls(0, column.type))])


def plain(array: pa.Array) -> pa.Array:
    """The same values in plain types: a dictionary's values, strings for views, an extension's storage, but for UUIDs.

    Lists are list, large_list or fixed_size_list; all of their children are plain, too.
    """
    type = array.type
    if _is_plain(type):
        return array
    if pa.types.is_dictionary(type):
        return plain(array.dictionary).take(array.indices)
    if isinstance(type, pa.BaseExtensionType):
        return plain(array.storage)
    if type == pa.string_view():
        # Its own cast to string would stop at bytes that are not UTF-8.
        return array.cast(pa.binary_view()).cast(pa.binary()).view(pa.string())
    if type == pa.binary_view():
        return array.cast(pa.binary())
    if pa.types.is_struct(type):
        children = [plain(child) for child in array.flatten()]
        fields = [pa.field(field.name, child.type) for field, child in zip(type, children, strict=True)]
        return struct_of(children, pa.struct(fields), array)
    if pa.types.is_map(type):
        lists = Lists.of_map(array)
        return lists.as_map(*lists.child.flatten())
    lists = Lists.of(array)
    child = lists.child
    element = pa.field(type.value_field.name, child.type)
    if pa.types.is_fixed_size_list(type):
        return lists.with_child(child, pa.list_(element, type.list_size))
    is_large = pa.types.is_large_list(type) or pa.types.is_large_list_view(type)
    return lists.with_child(child, pa.large_list(element) if is_large else pa.list_(element))


def struct_of(children: list[pa.Array], type: pa.StructType, like: pa.Array) -> pa.StructArray:
    """Structs of these children, null where `like` is."""
    return pa.StructArray.from_arrays(children, fields=list(type), mask=like.is_null())


@dataclass(frozen=True)
class Lists:
    """An array of lists, taken apart."""

    lengths: NDArray[np.int64]
    """[N]; 0 for null."""

    valid: Bools
    """[N]"""

    child: pa.Array
    """The elements of all lists that are not null, one list after the other."""

    @classmethod
    def of(cls, array: pa.Array) -> "Lists":
        """Of lists of any kind; the elements are plain."""
        valid = _valid(array)
        if pa.types.is_fixed_size_list(array.type):
            size = array.type.list_size
            starts = (array.offset + np.arange(len(array))) * size
            lengths = np.full(len(array), size)
        elif pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
            starts, lengths = (_integers(part) for part in (array.offsets, array.sizes))
        else:
            offsets = _integers(array.offsets)
            starts, lengths = offsets[:-1], np.diff(offsets)
        lengths = np.where(valid, lengths, 0)
        return cls(lengths, valid, _gathered(array.values, starts, lengths))

    @classmethod
    def of_map(cls, array: pa.MapArray) -> "Lists":
        """Of maps; the child is a struct of key and value, both plain."""
        offsets, valid = _integers(array.offsets), _valid(array)
        lengths = np.where(valid, np.diff(offsets), 0)
        entries = [_gathered(part, offsets[:-1], lengths) for part in (array.keys, array.items)]
        return cls(lengths, valid, pa.StructArray.from_arrays(entries, names=["key", "value"]))

    @property
    def rows(self) -> NDArray[np.int64]:
        """[elements] which list each element of `child` is of."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def with_child(self, child: pa.Array, type: pa.DataType) -> pa.Array:
        """The lists with other elements, as many as they had; null where they were."""
        if pa.types.is_fixed_size_list(type):
            size = type.list_size
            places = np.zeros((len(self.lengths), size), np.int64)
            places[self.valid] = np.arange(len(child)).reshape(int(self.valid.sum()), size)
            missing = np.repeat(~self.valid, size)
            values = child.take(pa.array(places.reshape(-1), mask=missing)) if missing.any() else child
            return pa.FixedSizeListArray.from_arrays(values, type=type, mask=self._mask)
        kind: Any = pa.LargeListArray if pa.types.is_large_list(type) else pa.ListArray
        return kind.from_arrays(self._offsets(pa.types.is_large_list(type)), child, type=type, mask=self._mask)

    def as_map(self, keys: pa.Array, items: pa.Array) -> pa.MapArray:
        """Maps of these keys and values, as many as there were; null where they were."""
        return pa.MapArray.from_arrays(self._offsets(False), keys, items, mask=self._mask)

    def _offsets(self, is_large: bool) -> pa.Array:
        offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        return pa.array(offsets, pa.int64() if is_large else pa.int32())

    @property
    def _mask(self) -> pa.Array | None:
        return None if self.valid.all() else pa.array(~self.valid)


def _gathered(values: pa.Array, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.Array:
    """The elements of ranges of `values`, one range after the other, in plain types."""
    places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    first, stop = (places.min(), places.max() + 1) if len(places) else (0, 0)
    # Made plain before some are taken, for which Arrow has kernels for plain types only.
    within = plain(values.slice(first, stop - first))
    is_all = len(within) == len(places) and bool((np.diff(places) == 1).all())
    return within if is_all else within.take(pa.array(places - first))


def _integers(array: pa.Array) -> NDArray[np.int64]:
    # The place of a null is no number.
    integers: NDArray[np.int64] = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return integers


def _valid(array: pa.Array) -> Bools:
    valid: Bools = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _is_plain(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type) or type in (pa.string_view(), pa.binary_view()):
        return False
    if isinstance(type, pa.BaseExtensionType):
        return bool(type == pa.uuid())
    if pa.types.is_list_view(type) or pa.types.is_large_list_view(type):
        return False
    return all(_is_plain(type.field(number).type) for number in range(type.num_fields))
