"""Builds the padded arrays of a forward pass from windows, without a loop over windows."""

from collections.abc import Sequence

import numpy as np

from actors.arrays import Floats, Ints, Longs, segments
from actors.batch import Batch, between
from actors.tokenization.encoder_spec import WindowTemplate
from actors.tokenization.tokenized import Tokenized


def collate(prepared: Tokenized, template: WindowTemplate, chosen: Longs, pad_id: int, uses_type_ids: bool) -> Batch:
    """Assembles the windows at the positions `chosen` ([n])."""
    windows = prepared.windows
    question, passage = windows.question[chosen], windows.passage[chosen]
    q_from, q_len = prepared.question.offsets[question], prepared.question.lengths[question].astype(np.int64)
    p_len = (windows.stop[chosen] - windows.first[chosen]).astype(np.int64)
    p_from = prepared.passage.offsets[passage] + windows.first[chosen]
    lengths = q_len + p_len + template.specials
    n, width = len(chosen), int(lengths.max())

    head = np.full(n, len(template.prefix), dtype=np.int64)
    if template.passage_first:
        p_start, q_start = head, head + p_len + len(template.middle)
        m_start = head + p_len
    else:
        q_start, p_start = head, head + q_len + len(template.middle)
        m_start = head + q_len
    s_start = lengths - len(template.suffix)

    ids = np.full((n, width), pad_id, dtype=np.int64)
    _scatter(ids, q_start, q_len, prepared.question.ids, q_from)
    _scatter(ids, p_start, p_len, prepared.passage.ids, p_from)
    for start, tokens in (
        (np.zeros_like(head), template.prefix),
        (m_start, template.middle),
        (s_start, template.suffix),
    ):
        _place(ids, start, tokens)

    padded = bool((lengths < width).any())
    mask = (np.arange(width) < lengths[:, None]).astype(np.int64) if padded else None
    types = None
    if uses_type_ids:
        types = np.zeros((n, width), dtype=np.int64)
        types += template.question_type * between(width, q_start, q_len)
        types += template.passage_type * between(width, p_start, p_len)
        _place(types, np.zeros_like(head), template.prefix_types)
        _place(types, m_start, template.middle_types)
        _place(types, s_start, template.suffix_types)
    return Batch(ids, mask, types, lengths, p_start, p_len, _cls_positions(template, lengths))


def stack(batches: Sequence[Batch], pad_id: int) -> Batch:
    """The windows of several batches as one batch, padded to the widest.

    Args:
        batches: of one model, so that all or none of them have token types and CLS tokens.
    """
    if len(batches) == 1:
        return batches[0]
    width = max(batch.width for batch in batches)
    lengths = np.concatenate([batch.lengths for batch in batches])
    padded = bool((lengths < width).any())
    types = [batch.token_type_ids for batch in batches if batch.token_type_ids is not None]
    cls = [batch.cls for batch in batches if batch.cls is not None]
    return Batch(
        input_ids=np.concatenate([_widen(batch.input_ids, width, pad_id) for batch in batches]),
        attention_mask=(np.arange(width) < lengths[:, None]).astype(np.int64) if padded else None,
        token_type_ids=np.concatenate([_widen(t, width, 0) for t in types]) if types else None,
        lengths=lengths,
        passage_start=np.concatenate([batch.passage_start for batch in batches]),
        passage_length=np.concatenate([batch.passage_length for batch in batches]),
        cls=np.concatenate(cls) if cls else None,
    )


def stack_weights(weights: Sequence[Floats | None], width: int) -> Floats | None:
    """[n, width] the token weights of several batches, in order; None where there are none."""
    given = [w for w in weights if w is not None]
    if not given:
        return None
    return np.concatenate([np.pad(w, ((0, 0), (0, width - w.shape[1]))) for w in given])


def _widen(values: Longs, width: int, fill: int) -> Longs:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=fill)


def _scatter(target: Longs, starts: Longs, lengths: Longs, source: Ints, source_starts: Longs) -> None:
    rows = np.arange(len(starts), dtype=np.int64) * target.shape[1]
    target.reshape(-1)[segments(rows + starts, lengths)] = source[segments(source_starts, lengths)]


def _place(target: Longs, starts: Longs, values: tuple[int, ...]) -> None:
    rows = np.arange(len(starts))
    for i, value in enumerate(values):
        target[rows, starts + i] = value


def _cls_positions(template: WindowTemplate, lengths: Longs) -> Longs | None:
    if template.cls_in_prefix is not None:
        return np.full(len(lengths), template.cls_in_prefix, dtype=np.int64)
    if template.cls_in_suffix is not None:
        return lengths - len(template.suffix) + template.cls_in_suffix
    return None
