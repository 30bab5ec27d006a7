"""Builds the arrays of a forward pass from windows, without a loop over windows."""

from collections.abc import Sequence

import numpy as np

from actors.arrays import Ints, Longs, segments
from actors.batch import Batch
from actors.tokenization.encoder_spec import WindowTemplate
from actors.tokenization.tokenized import Tokenized


def collate(prepared: Tokenized, template: WindowTemplate, chosen: Longs, pad_id: int, uses_type_ids: bool) -> Batch:
    """Assembles the windows at the positions `chosen` ([n])."""
    q_from, q_len, p_from, p_len = np.ascontiguousarray(prepared.window_tokens[chosen].T)
    lengths = q_len + p_len + template.specials
    # A window has two parts: the first text with the special tokens around it, and the other with those after it.
    first_start = np.full(len(chosen), len(template.prefix), dtype=np.int64)
    first_stop = first_start + (p_len if template.passage_first else q_len)
    second_start = first_stop + len(template.middle)
    p_start, q_start = (first_start, second_start) if template.passage_first else (second_start, first_start)

    begin = np.cumsum(lengths) - lengths
    special = begin, begin + first_stop, begin + lengths - len(template.suffix)
    ids = _gather(prepared.passage.ids, p_from - p_start, begin, lengths)
    ids[segments(begin + q_start, q_len)] = prepared.question.ids[segments(q_from, q_len)]
    _place(ids, special, (template.prefix, template.middle, template.suffix))
    types = None
    if uses_type_ids:
        kinds = np.array([template.question_type, template.passage_type], dtype=np.int32)
        parts = np.stack([second_start, lengths - second_start], axis=1).reshape(-1)
        types = np.repeat(np.tile(kinds[::-1] if template.passage_first else kinds, len(chosen)), parts)
        _place(types, special, (template.prefix_types, template.middle_types, template.suffix_types))
    return Batch(ids, types, lengths, p_start, p_len, _cls_positions(template, lengths), pad_id)


def stack(batches: Sequence[Batch]) -> Batch:
    """The windows of several batches as one batch.

    Args:
        batches: of one model, so that all or none of them have token types and CLS tokens.
    """
    if len(batches) == 1:
        return batches[0]
    types = [batch.types for batch in batches if batch.types is not None]
    cls = [batch.cls for batch in batches if batch.cls is not None]
    return Batch(
        ids=np.concatenate([batch.ids for batch in batches]),
        types=np.concatenate(types) if types else None,
        lengths=np.concatenate([batch.lengths for batch in batches]),
        passage_start=np.concatenate([batch.passage_start for batch in batches]),
        passage_length=np.concatenate([batch.passage_length for batch in batches]),
        cls=np.concatenate(cls) if cls else None,
        pad_id=batches[0].pad_id,
    )


def _gather(source: Ints, places: Longs, begin: Longs, lengths: Longs) -> Ints:
    """What stands in `source` from these places on, end to end; anything beyond its ends.

    Args:
        places, begin, lengths: [n] where a window's tokens stand, where they are to stand, and how many there are.
    """
    of_token = np.repeat(places - begin, lengths)
    of_token += np.arange(len(of_token))
    return source.take(of_token, mode="clip")


def _place(target: Ints, starts: tuple[Longs, ...], values: tuple[tuple[int, ...], ...]) -> None:
    for start, tokens in zip(starts, values, strict=True):
        for i, value in enumerate(tokens):
            target[start + i] = value


def _cls_positions(template: WindowTemplate, lengths: Longs) -> Longs | None:
    if template.cls_in_prefix is not None:
        return np.full(len(lengths), template.cls_in_prefix, dtype=np.int64)
    if template.cls_in_suffix is not None:
        return lengths - len(template.suffix) + template.cls_in_suffix
    return None
