"""The passages that answers are read from: slices of them by code point, and which slices can be equal but for case."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Flags, Ints, Longs, segments

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

_REACH = 8
"""Code points at each end of a slice that its hash looks at: as many bytes as are read at once."""
_CASE = np.uint64(0x2020_2020_2020_2020)
"""The bit in which ASCII letters differ from their lower case, of eight bytes."""
_HEAD = np.array([(1 << 8 * n) - 1 for n in range(_REACH + 1)], dtype=np.uint64)
"""By the number of code points: of the eight that begin a slice, those that it holds."""
_TAIL = np.array([((1 << 8 * n) - 1) << 8 * (_REACH - n) for n in range(_REACH + 1)], dtype=np.uint64)
_MIX = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
"""Odd numbers whose bits look random."""
_EXPANDING = "İ"
"""The only code point that becomes two in lower case, so that slices of unequal lengths can be equal."""


@dataclass(frozen=True)
class Passages:
    """Some texts, end to end. Those beyond ASCII are there by code point as well."""

    texts: pa.StringArray
    """[P]"""

    @classmethod
    def of(cls, texts: pa.StringArray, numbers: Ints) -> tuple["Passages", Longs]:
        """The texts at these positions, [n], each once, and where among them each position's is, [n]."""
        if not len(numbers):
            return cls(texts.slice(0, 0)), numbers.astype(np.int64)
        first, stop = int(numbers.min()), int(numbers.max()) + 1
        if stop - first <= len(numbers):
            return cls(texts.slice(first, stop - first)), numbers - np.int64(first)
        used, place = np.unique(numbers, return_inverse=True)
        return cls(texts.take(pa.array(used))), place.astype(np.int64)

    def hashes(self, text: Longs, start: Ints, end: Ints) -> Hashes:
        """[n] numbers that are equal where two slices of one text are equal in lower case.

        They look at the length of a slice and at both of its ends, so that slices which differ have different ones as
        a rule, and not always.

        Args:
            text: [n] number of the text that a slice is of.
            start, end: [n] its first code point, and the one after its last.
        """
        base = self._first_point[text]
        length = np.maximum(end - start, 0)
        held = np.minimum(length, _REACH)
        # Eight bytes from every place on.
        eights: Hashes = np.ndarray(len(self._folded) - 7, dtype="<u8", buffer=self._folded, strides=(1,))
        head, tail = eights[base + start], eights[base + (start + length - _REACH)]
        mixed: Hashes = ((head | _CASE) & _HEAD[held]) * _MIX[0]
        mixed ^= mixed >> np.uint64(29)
        mixed += (tail | _CASE) & _TAIL[held]
        mixed *= _MIX[1]
        mixed ^= mixed >> np.uint64(32)
        mixed += length.astype(np.uint64)
        mixed *= _MIX[2]
        if self._expands.any():
            mixed[self._expands[text]] = 0
        return mixed

    def slices(self, text: Longs, start: Ints, end: Ints) -> pa.LargeStringArray:
        """[n] the slices themselves; arguments as for `hashes`."""
        begin, stop = self._byte_of(text, start), self._byte_of(text, end)
        lengths = np.maximum(stop - begin, 0)
        offsets = np.zeros(len(text) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        body = self._data[segments(begin, lengths)]
        return pa.LargeStringArray.from_buffers(len(text), pa.py_buffer(offsets), pa.py_buffer(body))

    @cached_property
    def _offsets(self) -> Longs:
        """[P + 1] where each text begins in `_data`."""
        offsets = np.frombuffer(self.texts.buffers()[1], dtype=np.int32)
        offsets = offsets[self.texts.offset : self.texts.offset + len(self.texts) + 1]
        return (offsets - offsets[:1]).astype(np.int64)

    @cached_property
    def _data(self) -> Bytes:
        """All texts in UTF-8, end to end."""
        return _body(self.texts)

    @cached_property
    def _is_beyond(self) -> Flags:
        """[P] whether a text holds more than ASCII."""
        if not len(self._data) or self._data.max() < 0x80:
            return np.zeros(len(self.texts), dtype=bool)
        flags: Flags = ~pc.string_is_ascii(self.texts).to_numpy(zero_copy_only=False)
        return flags

    @cached_property
    def _beyond(self) -> pa.StringArray:
        """[Q] the texts that hold more than ASCII."""
        return self.texts.filter(pa.array(self._is_beyond))

    @cached_property
    def _points(self) -> npt.NDArray[np.uint32]:
        """The code points of all texts in `_beyond`, end to end."""
        return np.frombuffer(str(_body(self._beyond).data, "utf-8").encode("utf-32-le"), dtype=np.uint32)

    @cached_property
    def _first_of_beyond(self) -> Longs:
        """[Q] where the texts of `_beyond` begin among their code points."""
        lengths = pc.utf8_length(self._beyond).to_numpy(zero_copy_only=False).astype(np.int64)
        first: Longs = np.cumsum(lengths) - lengths
        return first

    @cached_property
    def _first_point(self) -> Longs:
        """[P] where the code points of each text begin in `_folded`."""
        first = self._offsets[:-1] + _REACH
        if self._is_beyond.any():
            first[self._is_beyond] = _REACH + len(self._data) + self._first_of_beyond
        return first

    @cached_property
    def _folded(self) -> Bytes:
        """A byte for every code point, between eight that are none: itself in ASCII, otherwise one that is equal for
        all code points of one lower case.
        """
        beyond = _folds().take(self._points, mode="clip") if self._is_beyond.any() else self._data[:0]
        around = np.zeros(_REACH, dtype=np.uint8)
        return np.concatenate([around, self._data, beyond, around])

    @cached_property
    def _expands(self) -> Flags:
        """[P] whether lower case makes a text longer."""
        flags = np.zeros(len(self.texts), dtype=bool)
        if self._is_beyond.any():
            at = np.flatnonzero(self._points == ord(_EXPANDING))
            owner = np.searchsorted(self._first_of_beyond, at, side="right") - 1
            flags[np.flatnonzero(self._is_beyond)[owner]] = True
        return flags

    def _byte_of(self, text: Longs, point: Ints) -> Longs:
        """[n] where a code point of a text begins in `_data`."""
        place: Longs = self._offsets[text] + point
        own = np.flatnonzero(self._is_beyond[text])
        if len(own):
            number = (np.cumsum(self._is_beyond) - 1)[text[own]]
            nth = self._first_of_beyond[number] + point[own]
            shift = self._offsets[text[own]] - self._leads[self._first_of_beyond[number]]
            place[own] = self._leads[nth] + shift
        return place

    @cached_property
    def _leads(self) -> Longs:
        """Where each code point of `_beyond` begins among their bytes, and where the last ends."""
        data = _body(self._beyond)
        return np.append(np.flatnonzero((data & 0xC0) != 0x80), len(data))


def _body(texts: pa.StringArray) -> Bytes:
    """The bytes of all texts, end to end."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    first, stop = int(offsets[texts.offset]), int(offsets[texts.offset + len(texts)])
    return np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)[first:stop]


@lru_cache(maxsize=1)
def _folds() -> Bytes:
    """A byte for every code point of 16 bits, equal for all of one lower case; the last stands for those of more bits.

    Alone, Σ becomes σ in lower case, and ς at the end of a word, so that ς is σ here.
    """
    return np.fromiter((ord(chr(point).lower().replace("ς", "σ")[0]) & 0xFF for point in range(1 << 16)), np.uint8)
