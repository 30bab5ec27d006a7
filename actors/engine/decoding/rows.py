"""From what owners have to what rows get."""

import numpy as np
import pyarrow as pa

from actors.arrays import Floats, Longs
from actors.errors import NotANumber, TooManyValues
from actors.tokenization.tokenized import Tokenized

_MOST = np.iinfo(np.int32).max
NOT_A_NUMBER = "the model computes NaN; try model.precision: exact"


def of_rows(values: pa.Array, prepared: Tokenized) -> pa.Array:
    """[R] of [owners]; rows of one text share its owner's."""
    row_owner = prepared.row_owner
    is_own = len(row_owner) == len(values) and bool((row_owner == np.arange(len(values))).all())
    return values if is_own else values.take(pa.array(row_owner))


def windows_of_rows(windows: pa.StructArray, prepared: Tokenized) -> pa.ListArray:
    """[R] lists of [W]: each row's windows in reading order.

    Raises:
        TooManyValues: see `list_offsets`.
    """
    of_owner = np.bincount(prepared.windows.owner, minlength=prepared.owners)
    return of_rows(pa.ListArray.from_arrays(list_offsets(of_owner, "windows"), windows), prepared)


def list_offsets(lengths: Longs, of_what: str) -> pa.Array:
    """[N + 1] int32, where lists of these lengths, [N], begin among the values of all.

    Raises:
        TooManyValues: Arrow's lists hold no more than 2^31 - 1 values together.
    """
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > _MOST:
        raise TooManyValues(
            f"a shard has {offsets[-1]:,} {of_what}, and a column of lists holds {_MOST:,}; lower corpus.shard_rows"
        )
    return pa.array(offsets.astype(np.int32))


def checked(values: Floats) -> Floats:
    """The same.

    Raises:
        NotANumber: the model computes NaN.
    """
    if not np.isfinite(values).all():
        raise NotANumber(NOT_A_NUMBER)
    return values
