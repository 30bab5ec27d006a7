"""How large the columns of a row become that hold more than a few numbers: for the size of shards, and for limits."""

from dataclasses import dataclass

import numpy as np

from actors.backends.layer_output import MOST_SHARES, ModelDepth
from actors.engine.decoding.compact_vectors import number_type, written_width
from actors.engine.inference_task import Wanted
from actors.errors import ModelError
from actors.parameters import AttentionParameters

MOST_DENSE = 64 << 20
"""Bytes of the attention of one window, where all of its weights are written."""
_WEIGHT, _TARGET = 4, 2
_TOKEN, _WINDOW_TOKEN, _SHARE = 24, 40, 48
"""Bytes of a token of the columns tokens, attention and attribution, its text among them, about."""


@dataclass(frozen=True)
class WindowShape:
    """How passages are cut: tokens of the longest window, and how many of them neighbours share."""

    longest: int
    shared: int

    def windows(self, tokens: float) -> float:
        """Windows of a passage of so many tokens, about; at least 1."""
        step = max(self.longest - self.shared, 1)
        return 1 + max(tokens - self.longest, 0.0) / step


def attention_bytes(attention: AttentionParameters, depth: ModelDepth, tokens: float) -> float:
    """Of the weights of one window of so many tokens."""
    layers = depth.layers if attention.layers is None else len(attention.layers)
    rows = layers * depth.heads * tokens
    if attention.top is None:
        return rows * tokens * _WEIGHT
    return rows * min(attention.top, tokens) * (_WEIGHT + _TARGET)


def row_bytes(wanted: Wanted, width: int, depth: ModelDepth | None, cut: WindowShape, tokens: float) -> float:
    """Of the columns that `output.columns` alone names, of a row whose passage has so many tokens, about.

    Args:
        width: D of the model.
        depth: None where nothing is wanted that needs it.
    """
    vectors = () if wanted.embedding is None else wanted.embedding.columns
    sizes = column_bytes(wanted, width, depth, cut, tokens)
    return sum(size for name, size in sizes if name not in vectors)


def column_bytes(
    wanted: Wanted, width: int, depth: ModelDepth | None, cut: WindowShape, tokens: float, beside: float = 0.0
) -> list[tuple[str, float]]:
    """Bytes of each column that holds more than a few numbers, by its name, of a row whose passage has so many tokens.

    They are about what the column takes in memory, before parts are compressed.

    Args:
        beside: tokens of every window that are not the passage's, those of the question and special ones; the others
            as in `row_bytes`.
    """
    sizes = list[tuple[str, float]]()
    if wanted.embedding is not None and wanted.gives_embeddings:
        one = written_width(wanted.embedding, width) * number_type(wanted.embedding).itemsize
        sizes += [(name, one) for name in wanted.embedding.columns]
    if wanted.token_texts:
        sizes.append(("tokens", tokens * _TOKEN))
    if wanted.token_vectors is not None:
        sizes.append(("token_vectors", tokens * width * np.dtype(wanted.token_vectors.dtype).itemsize))
    if depth is not None and wanted.layer_vectors:
        sizes.append(("hidden", (depth.layers + 1) * width * _WEIGHT))
    if depth is not None and wanted.attention is not None:
        of_window = min(tokens + beside, float(cut.longest))
        each = attention_bytes(wanted.attention, depth, of_window) + of_window * _WINDOW_TOKEN
        windows = WindowShape(max(cut.longest - round(beside), 1), cut.shared).windows(tokens)
        sizes.append(("attention", windows * each))
    if wanted.attribution:
        sizes.append(("attribution", MOST_SHARES * _SHARE))
    return sizes


def check_attention(wanted: Wanted, depth: ModelDepth, longest: int) -> None:
    """Checks that the attention of a window of so many tokens can be written.

    Raises:
        ModelError: it cannot.
    """
    attention = wanted.attention
    if attention is None:
        return
    if longest > np.iinfo(np.int16).max:
        raise ModelError(
            f"attention is of windows of {np.iinfo(np.int16).max:,} tokens at most, and these have {longest:,}; lower "
            "max_seq_len"
        )
    size = attention_bytes(attention, depth, longest)
    if attention.top is None and size > MOST_DENSE:
        raise ModelError(
            f"attention.top is null, so that a window of {longest} tokens would have {size / (1 << 20):,.0f} MB of "
            f"weights, and {MOST_DENSE >> 20} MB are the most; set attention.top, such as 8, name fewer "
            "attention.layers, or lower max_seq_len"
        )
