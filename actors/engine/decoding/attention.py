"""The column attention: what the tokens of every window attended to, layer by layer and head by head."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from actors.arrays import Floats, Longs, Shorts
from actors.backends.layer_output import Attention
from actors.engine.decoding.rows import checked, list_offsets, windows_of_rows
from actors.engine.decoding.token_texts import WINDOW_TOKEN, WindowTokens
from actors.parameters import AttentionParameters

WINDOW = pa.struct(
    [
        ("first", pa.int32()),
        ("tokens", pa.list_(WINDOW_TOKEN)),
        ("layers", pa.list_(pa.int32())),
        ("heads", pa.int32()),
        ("top", pa.int32()),
        ("targets", pa.list_(pa.int16())),
        ("weights", pa.list_(pa.float32())),
    ]
)
"""first: number of the window's first passage token. targets and weights: flat, in C order of [layers, heads, tokens,
top]; targets are numbers of tokens of the window, the heaviest first. Dense: top and targets are null, and weights are
[layers, heads, tokens, tokens]."""


def targets_of(lengths: Longs, top: int | None) -> Longs:
    """[W] how many of its targets are kept of a token in windows of these lengths, [W]."""
    return lengths if top is None else np.minimum(lengths, top)


@dataclass
class WindowAttention:
    """Collects the attention of windows, in the numbers that are written and no others."""

    tokens: WindowTokens
    parameters: AttentionParameters
    layers: tuple[int, ...]
    heads: int
    _room: "_Room" = field(init=False)

    def __post_init__(self) -> None:
        """Makes room."""
        kept = targets_of(self.tokens.lengths, self.parameters.top)
        self._room = _Room.of(self.tokens.lengths * kept * len(self.layers) * self.heads, self.parameters.top)

    def keep(self, chosen: Longs, found: Attention) -> None:
        """Takes what a pass found in these windows.

        Raises:
            NotANumber: the model computes NaN.
        """
        lengths = self.tokens.lengths[chosen]
        kept = targets_of(lengths, self.parameters.top)
        for row, (window, length, most) in enumerate(zip(chosen, lengths, kept, strict=True)):
            own = self._room.of_window(window)
            self._room.weights[own] = checked(found.weights[row, :, :, :length, :most]).reshape(-1)
            if self._room.targets is not None and found.targets is not None:
                self._room.targets[own] = found.targets[row, :, :, :length, :most].reshape(-1)

    def column(self) -> pa.ListArray:
        """[R] lists of `WINDOW`, a row's windows in reading order."""
        prepared, lengths = self.tokens.prepared, self.tokens.lengths
        windows = len(lengths)
        offsets = list_offsets(np.diff(self._room.offsets), "weights of attention")
        top, targets = self.parameters.top, self._room.targets
        columns = [
            pa.array(prepared.windows.first),
            self.tokens.of_windows(),
            _repeated(self.layers, windows),
            pa.array(np.full(windows, self.heads, dtype=np.int32)),
            pa.nulls(windows, pa.int32()) if top is None else pa.array(targets_of(lengths, top).astype(np.int32)),
            pa.nulls(windows, pa.list_(pa.int16()))
            if targets is None
            else pa.ListArray.from_arrays(offsets, pa.array(targets)),
            pa.ListArray.from_arrays(offsets, pa.array(self._room.weights)),
        ]
        return windows_of_rows(pa.StructArray.from_arrays(columns, fields=list(WINDOW)), prepared)


@dataclass(frozen=True)
class _Room:
    """Weights and targets of all windows, end to end."""

    offsets: Longs
    """[W + 1]"""
    weights: Floats
    targets: Shorts | None

    @classmethod
    def of(cls, sizes: Longs, top: int | None) -> "_Room":
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        total = int(offsets[-1])
        return cls(offsets, np.zeros(total, np.float32), None if top is None else np.zeros(total, np.int16))

    def of_window(self, window: int) -> slice:
        return slice(int(self.offsets[window]), int(self.offsets[window + 1]))


def _repeated(numbers: tuple[int, ...], times: int) -> pa.ListArray:
    flat = np.tile(np.array(numbers, dtype=np.int32), times)
    return pa.ListArray.from_arrays(list_offsets(np.full(times, len(numbers)), "layers"), pa.array(flat))
