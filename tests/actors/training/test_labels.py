"""Answers as code points become tokens of windows: held against a search through the tokenizer's own offsets."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.collate import collate
from actors.models.loading import load_spec
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_texts
from actors.training.labels import SpanLabels, label_columns, label_windows
from tests.actors.helpers import GOLDEN, MODELS, prepare, strings, word_spec, words

SPECS = {name: load_spec(GOLDEN / "models" / name) for name in MODELS} | {"passage first": word_spec(512, True)}
PIECES = (
    *("Ada ", "w1 ", "w2", "rye", "unbelievably ", " ", "  ", "\n", "\t", ".", ", ", "-", "“", "İstanbul ", "ﬁn"),
    *("Zoe\u0308 ", "żółw", "👩\u200d👩\u200d👧 ", "🇫🇮", "👍🏽", "❤️", "\u200b", "\x01", "東京", "ไทย", "한", "Ω"),
)


@dataclass(frozen=True)
class Case:
    """Questions about passages, some of which are the same, with answers at [start, stop); start -1 where none."""

    pairs: list[tuple[str, str]]
    start: list[int]
    stop: list[int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    passages = draw(st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=40).map("".join), min_size=1))
    pairs, start, stop = [], [], []
    for _ in range(draw(st.integers(1, 6))):
        passage = draw(st.sampled_from(passages))
        first = draw(st.integers(-1, len(passage) - 1))
        pairs.append((draw(st.sampled_from(["w1", "Who?", "w3 w4 w5"])), passage))
        start.append(first)
        stop.append(-1 if first < 0 else draw(st.integers(first + 1, min(first + 12, len(passage)))))
    return Case(pairs, start, stop)


def _touched(spec: EncoderSpec, passage: str, start: int, stop: int) -> list[int]:
    """Tokens that share a character with the answer, one by one."""
    offsets = spec.tokenizer().encode(passage, add_special_tokens=False).offsets
    return [token for token, (begin, end) in enumerate(offsets) if begin < stop and end > start]


@pytest.mark.parametrize("name", SPECS)
@given(case=cases(), room=st.integers(10, 40), stride=st.integers(0, 4))
def test_labels_are_the_tokens_that_the_answer_touches(name: str, case: Case, room: int, stride: int) -> None:
    spec = SPECS[name]
    prepared, rejected = prepare(spec, QAParameters(max_seq_len=room, doc_stride=stride), case.pairs)
    kept = np.delete(np.arange(len(case.pairs)), rejected.rows)
    start, stop = np.array(case.start, np.int64)[kept], np.array(case.stop, np.int64)[kept]
    if not len(kept):
        return
    labels = label_windows(prepared, start, stop)
    chosen = np.arange(len(prepared.windows))
    batch = collate(prepared, spec.pair, chosen, spec.pad_id, spec.uses_type_ids)
    first, last = label_columns(labels, chosen, batch)
    assert batch.cls is not None

    lost = set(range(len(kept)))
    for window, owner in enumerate(prepared.windows.owner.tolist()):
        passage, begin, end = case.pairs[kept[owner]][1], int(start[owner]), int(stop[owner])
        tokens = _touched(spec, passage, begin, end) if begin >= 0 else []
        inside = range(int(prepared.windows.first[window]), int(prepared.windows.stop[window]))
        if begin < 0:
            lost.discard(owner)
        if not tokens or not set(tokens) <= set(inside):
            assert (labels.first[window], labels.last[window]) == (-1, -1)
            assert first[window] == last[window] == batch.cls[window]
            continue
        lost.discard(owner)
        # What the model is shown at the label's columns is the answer, and reads as the answer in the passage.
        encoded = spec.tokenizer().encode(passage, add_special_tokens=False)
        shown = batch.input_ids[window, first[window] : last[window] + 1].tolist()
        assert shown == encoded.ids[tokens[0] : tokens[-1] + 1]
        outer = [encoded.offsets[tokens[i]] for i in (0, -1)]
        has_token = {place for offsets in encoded.offsets for place in range(*offsets)}
        assert set(range(begin, end)) & has_token <= set(range(outer[0][0], outer[1][1]))
        assert all(offsets[0] < end and offsets[1] > begin for offsets in outer)
    assert labels.lost.tolist() == sorted(lost)


def _label(passage: str, answer: str, size: int, stride: int) -> SpanLabels:
    prepared, _ = prepare(word_spec(), QAParameters(max_seq_len=size, doc_stride=stride), [("w1", passage)])
    start = np.array([passage.index(answer)])
    return label_windows(prepared, start, start + len(answer))


def test_windows_that_share_the_answer_all_hold_it() -> None:
    # Windows of eight tokens: w0-w3, w2-w5, w4-w7, ...
    labels = _label(words(range(10)), "w2 w3", 8, 2)
    assert labels.first.tolist() == [2, 0, -1, -1]
    assert labels.last.tolist() == [3, 1, -1, -1]
    assert labels.lost.tolist() == []


def test_an_answer_that_no_window_holds_whole_is_lost() -> None:
    assert _label(words(range(10)), "w1 w2 w3 w4", 8, 2).lost.tolist() == [0]
    assert _label(words(range(10)), "w1 w2 w3 w4", 8, 3).lost.tolist() == []


def test_a_blank_is_lost() -> None:
    labels = _label("w1   w2", "  ", 8, 2)
    assert (labels.first.tolist(), labels.lost.tolist()) == ([-1], [0])


def test_without_a_cls_token_every_window_must_hold_an_answer() -> None:
    spec = word_spec()
    prepared, _ = prepare(spec, QAParameters(), [("w1", "w2 w3"), ("w1", "w4")])
    batch = collate(prepared, spec.pair, np.arange(2), spec.pad_id, False)
    mute = type(batch)(**{**vars(batch), "cls": None})
    labels = label_windows(prepared, np.array([3, 0]), np.array([5, 2]))
    first, last = label_columns(labels, np.arange(2), mute)
    assert (first - mute.passage_start).tolist() == (last - mute.passage_start).tolist() == [1, 0]
    with pytest.raises(ValueError, match="needs a CLS token"):
        label_columns(label_windows(prepared, np.array([3, -1]), np.array([5, -1])), np.arange(2), mute)


def test_texts_have_no_answers() -> None:
    prepared, _ = prepare_texts(word_spec(), EmbeddingParameters(), strings(["w1 w2"]))
    with pytest.raises(ValueError, match="places"):
        label_windows(prepared, np.array([0]), np.array([2]))
