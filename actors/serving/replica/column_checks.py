"""What is known of a reply's columns before anything is computed: whether the model can give them, and how long they
will be in JSON.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from actors.arrays import Doubles, Ints
from actors.serving.types import WINDOWS, ModelCard, Refusal, Refused, Request
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.tokenized import Tokenized

_NUMBER, _SMALL, _WEIGHT = 12, 5, 14
"""Bytes of a float32 in JSON with its comma, of an int8, and of a weight between 0 and 1."""
_TOKEN, _WINDOW_TOKEN = 64, 84
"""Bytes of an object that says where a token stands, and of one that says in which part of a window, too."""
_KEPT_NUMBER = 4
"""Bytes of a float32 in memory."""
_ATTRIBUTION = 16 * 140
_OBJECT = 64
"""Names and brackets of a row, or of a window."""


@dataclass(frozen=True)
class _Rows:
    """What the sizes of columns follow from."""

    request: Request
    card: ModelCard
    owner: Ints
    """[W] of every window."""
    lengths: Doubles
    """[W] tokens of every window, special tokens included."""
    tokens: Doubles
    """[owners] passage tokens, each counted once."""

    def by_owner(self, of_window: Doubles) -> Doubles:
        """[owners] sums over their windows."""
        sums: Doubles = np.bincount(self.owner, weights=of_window, minlength=len(self.tokens)).astype(np.float64)
        return sums


def check_columns(request: Request, card: ModelCard) -> None:
    """Raises Refused where a request asks for columns that the model cannot give in its runtime, or as it pools."""
    wanted, mend = request.columns, "have the service run it with model.backend: torch"
    for name in wanted.names:
        if name not in card.columns:
            message = (
                f"{name} cannot be had of {card.name} as it runs here, with {card.backend}; leave it out, "
                f"or {mend} (there are {', '.join(card.columns)})"
            )
            raise Refused.of_field("columns", message, reason="no_column")
    if "hidden" in wanted.names and not request.embedding.is_one_mean:
        poolings = ", ".join(request.embedding.poolings)
        message = (
            f"hidden is one mean of each layer's vectors, and cannot be had as these are pooled here, with {poolings}; "
            "leave it out, or have it of /encode with one of mean, cls and last as its parameters.pooling"
        )
        raise Refused.of_field("columns", message)
    if "token_vectors" in wanted.names and wanted.token_vectors.numbers is not None and "hidden" not in card.columns:
        message = f"{card.name} gives vectors of its last layer alone with {card.backend}; leave it out, or {mend}"
        raise Refused.of_field("parameters.token_vectors.layers", message, reason="no_column")


def check_kept_size(request: Request, prepared: Tokenized, card: ModelCard, most: int) -> None:
    """Raises Refused where a request has more than `most` bytes kept until its last window has had its pass.

    `hidden` keeps a vector of each layer of every window, of which a reply then has no more than one for each text.
    """
    if "hidden" not in request.columns.names:
        return
    windows = len(prepared.windows)
    kept = windows * (card.layers + 1) * card.hidden_size * _KEPT_NUMBER
    if kept > most:
        raise Refused(
            Refusal(
                413,
                "too_many_windows",
                f"hidden keeps {_megabytes(kept)} of the {windows:,} windows that the texts are cut into, and "
                f"{_megabytes(most)} are the most (limits.max_reply_bytes); send fewer or shorter texts, raise "
                "max_seq_len, or leave hidden out",
            )
        )


def check_reply_size(request: Request, prepared: Tokenized, spec: EncoderSpec, card: ModelCard, most: int) -> None:
    """Raises Refused where the columns that a request asks for are estimated at more than `most` bytes of JSON."""
    sizes = estimated_bytes(request, prepared, spec, card)
    total = sum(sizes.values())
    if total <= most:
        return
    largest = max(sizes, key=lambda name: sizes[name])
    less = _LESS.get(largest, "")
    raise Refused(
        Refusal(
            413,
            "reply_too_large",
            f"the reply would have about {_megabytes(total)} of JSON, {_megabytes(sizes[largest])} of them {largest}, "
            f"and {_megabytes(most)} are the most (limits.max_reply_bytes); "
            f"{less}send fewer or shorter texts, or leave {largest} out",
        )
    )


def estimated_bytes(request: Request, prepared: Tokenized, spec: EncoderSpec, card: ModelCard) -> Mapping[str, int]:
    """Bytes of JSON of each column that a request asks for, about; rather more than fewer."""
    names = (*request.columns.names, *((WINDOWS,) if request.columns.probabilities else ()))
    if not names or not prepared.owners:
        return {}
    windows = prepared.windows
    first_of_owner = prepared.first_windows
    tokens = prepared.passage.lengths[windows.passage[first_of_owner]].astype(np.float64)
    template = spec.pair if request.task == "answer" else spec.single
    lengths = prepared.lengths(template.specials).astype(np.float64)
    rows = _Rows(request, card, windows.owner, lengths, tokens)
    return {name: int((_SIZES[name](rows) + _OBJECT)[prepared.row_owner].sum()) for name in names}


def _tokens(rows: _Rows) -> Doubles:
    return rows.tokens * _TOKEN


def _embedding(rows: _Rows) -> Doubles:
    embedding = rows.request.embedding
    numbers = embedding.dimensions or rows.card.hidden_size
    each = {"int8": float(_SMALL), "binary": _SMALL / 8}.get(embedding.dtype, float(_NUMBER))
    return np.full(len(rows.tokens), len(embedding.poolings) * numbers * each)


def _token_vectors(rows: _Rows) -> Doubles:
    is_small = rows.request.columns.token_vectors.dtype == "int8"
    return rows.tokens * (rows.card.hidden_size * (_SMALL if is_small else _NUMBER) + (_NUMBER if is_small else 2))


def _hidden(rows: _Rows) -> Doubles:
    return np.full(len(rows.tokens), (rows.card.layers + 1) * rows.card.hidden_size * float(_NUMBER))


def _attention(rows: _Rows) -> Doubles:
    wanted, lengths = rows.request.columns.attention, rows.lengths
    layers = rows.card.layers if wanted.layers is None else len(wanted.layers)
    targets = lengths if wanted.top is None else np.minimum(lengths, wanted.top)
    # A target is the number of a token in its window.
    each = _WEIGHT if wanted.top is None else _WEIGHT + np.log10(lengths) + 2
    numbers = layers * rows.card.heads * lengths * targets
    return rows.by_owner(numbers * each + lengths * _WINDOW_TOKEN + 2 * _OBJECT)


def _attribution(rows: _Rows) -> Doubles:
    return np.full(len(rows.tokens), float(_ATTRIBUTION))


def _windows(rows: _Rows) -> Doubles:
    return rows.by_owner(rows.lengths * (_WINDOW_TOKEN + 2 * _WEIGHT) + _OBJECT)


_SIZES: Mapping[str, Callable[[_Rows], Doubles]] = {
    "tokens": _tokens,
    "embedding": _embedding,
    "token_vectors": _token_vectors,
    "hidden": _hidden,
    "attention": _attention,
    "attribution": _attribution,
    WINDOWS: _windows,
}
_LESS = {
    "attention": "name fewer attention.layers, set a smaller attention.top, or ",
    "token_vectors": "set token_vectors.dtype to int8, or ",
    "embedding": "set fewer dimensions, or ",
}


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
