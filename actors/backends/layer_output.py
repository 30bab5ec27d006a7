"""What a pass can tell of the layers below the last and of attention: what is asked for, and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from actors.arrays import Flags, Floats, Ints, Longs, Shorts, stack_by_token
from actors.parameters import AttentionParameters

MOST_SHARES = 16
"""Tokens that an answer, or a candidate for one, is attributed to, at most."""


@dataclass(frozen=True)
class ModelDepth:
    """How many layers a model has, and how many heads of attention each of them."""

    layers: int
    heads: int


@dataclass(frozen=True)
class LayerRequest:
    """What a pass is asked for that only hidden states of all layers, or attention, can tell."""

    mean_of: tuple[int, ...] = ()
    """The layers of whose hidden states each token's mean is needed, 0 to L; none where it is not."""
    layer_weights: Floats | None = None
    """[n, S] weights of the hidden states in the pooled vectors of every layer; None where none are needed."""
    attention: AttentionParameters | None = None
    """Which weights of attention are needed; None for none."""
    answer_rows: "AnswerRows | None" = None
    """Of which answers attribution is needed; the request has `searches` then, and the pass gives `candidates`."""

    @classmethod
    def stacked(cls, parts: Sequence["LayerRequest"], width: int) -> "LayerRequest | None":
        """Of several tasks of one kind, whose batches are stacked and are `width` wide; None of none."""
        if len(parts) < 2:
            return parts[0] if parts else None
        weights = [part.layer_weights for part in parts if part.layer_weights is not None]
        rows = [part.answer_rows for part in parts if part.answer_rows is not None]
        return replace(
            parts[0],
            layer_weights=stack_by_token(weights, width) if weights else None,
            answer_rows=AnswerRows(
                stack_by_token([one.first for one in rows], width, -1),
                stack_by_token([one.last for one in rows], width, -1),
                stack_by_token([one.is_text for one in rows], width),
            )
            if rows
            else None,
        )


@dataclass(frozen=True)
class AnswerRows:
    """Where the answers of candidates begin and end, and which tokens they may be attributed to."""

    first: Ints
    """[n, S] the token at which an answer begins whose candidate begins here; -1 where the token is in no word."""
    last: Ints
    """[n, S] the token at which an answer ends whose candidate ends here; -1 likewise. Where either is -1, the
    candidate is the answer as it is."""
    is_text: Flags
    """[n, S] True on tokens of question and passage, False on special tokens and padding."""


@dataclass(frozen=True)
class Attention:
    """What the tokens of n windows attended to, in L layers with H heads each."""

    weights: Floats
    """[n, L, H, S, K] of the K heaviest targets, heaviest first; of all S tokens where they are dense (K = S)."""
    targets: Shorts | None
    """[n, L, H, S, K] these tokens; -1 beyond the tokens of a window. None where the weights are dense."""


@dataclass(frozen=True)
class Attribution:
    """What the first and the last token of candidates attended to: sums over heads, means over layers."""

    targets: Shorts
    """[n, C, K] the K heaviest tokens of each of C candidates, heaviest first by the sum of both; -1 in unused
    places."""
    from_start: Floats
    """[n, C, K]"""
    from_end: Floats
    """[n, C, K]"""

    def of(self, windows: slice | Longs) -> "Attribution":
        """That of some of the windows."""
        return Attribution(self.targets[windows], self.from_start[windows], self.from_end[windows])


@dataclass(frozen=True)
class LayerOutput:
    """What a pass found in all layers; each None where it was not asked for."""

    mean_states: Floats | None = None
    """[n, S, D] mean of the hidden states of some layers."""
    layer_pooled: Floats | None = None
    """[n, L + 1, D] weighted sums of the hidden states of every layer."""
    attention: Attention | None = None
    attribution: Attribution | None = None

    def part(self, rows: slice, width: int) -> "LayerOutput":
        """See `PassOutput.part`."""
        attention, attribution = self.attention, self.attribution
        if attention is not None:
            # Dense weights have tokens on both sides.
            most = width if attention.targets is None else None
            weights = attention.weights[rows, :, :, :width, :most]
            targets = None if attention.targets is None else attention.targets[rows, :, :, :width]
            attention = Attention(weights, targets)
        if attribution is not None:
            attribution = attribution.of(rows)
        return LayerOutput(
            None if self.mean_states is None else self.mean_states[rows, :width],
            None if self.layer_pooled is None else self.layer_pooled[rows],
            attention,
            attribution,
        )
