"""Rows become windows with token labels, and batches of tensors; labels are checked through the tokenizer's offsets."""

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
from actors.training.dataset import Pairs, PairTensors, SpanLabels, Texts, TextTensors, label_columns, label_windows
from actors.training.setup import answer_places
from tests.actors.helpers import GOLDEN, MODELS, prepare, strings, word_ids, word_spec, words
from tests.actors.training.helpers import CPU, DISTILBERT, QA, few_rows, table

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


LONG = words(range(12))


def _make(*rows: tuple[str, str, str | None], size: int = 10, stride: int = 2) -> tuple[Pairs, dict[str, list[int]]]:
    examples = table(rows)
    pairs, left_out = Pairs.make(
        word_spec(), QAParameters(max_seq_len=size, doc_stride=stride), examples, *answer_places(examples)
    )
    return pairs, {reason.name: found.tolist() for reason, found in left_out.items()}


def test_rows_that_teach_nothing_are_left_out_whole_and_named() -> None:
    pairs, left_out = _make(
        ("w1", LONG, "w2 w3 w4"),
        (words(range(9)), "w1 w2", "w1"),
        ("w1", LONG, "w1 w2 w3 w4 w5 w6 w7"),
        ("w1", " ", None),
        ("w1", "w5  w6", " "),
        ("w2", LONG, None),
        ("w3", "w7 w8", "w8"),
    )
    assert left_out == {"NO_TOKENS": [3], "QUESTION_TOO_LONG": [1], "NO_WINDOW": [2, 4]}
    # Rows 0 and 5 have three windows of six tokens; windows of row 0 without the answer teach to abstain.
    asked = [pairs.prepared.question.ids[pairs.prepared.question.offsets[q]] for q in pairs.prepared.windows.question]
    assert asked == word_ids("w1 w1 w1 w2 w2 w2 w3")
    assert pairs.labels.first.tolist() == [2, -1, -1, -1, -1, -1, 1]
    assert pairs.labels.last.tolist() == [4, -1, -1, -1, -1, -1, 1]
    assert pairs.lengths.tolist() == [10, 10, 8, 10, 10, 8, 6]


def test_nothing_is_left_out_of_good_rows() -> None:
    pairs, left_out = _make(("w1", LONG, "w2"), ("w1", LONG, None))
    assert left_out == {}
    assert len(pairs.lengths) == len(pairs.labels.first) == 6


def test_a_batch_allows_the_passage_and_cls() -> None:
    pairs, _ = _make(("w1 w2", "w3 w4 w5", "w4 w5"), ("w1", "w6", None))
    batch = PairTensors.take(pairs, np.array([1, 0]), CPU)
    # [CLS] w1 [SEP] w6 [SEP] and [CLS] w1 w2 [SEP] w3 w4 w5 [SEP]
    assert batch.allowed.int().tolist() == [[1, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 1, 1, 1, 0]]
    assert (batch.first.tolist(), batch.last.tolist()) == ([0, 5], [0, 6])
    assert batch.inputs["input_ids"][1].tolist() == [2, *word_ids("w1 w2"), 3, *word_ids("w3 w4 w5"), 3]
    assert batch.inputs["attention_mask"].sum(1).tolist() == [5, 8]
    assert batch.inputs["token_type_ids"][1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_passage_that_comes_first_is_labelled_where_it_stands() -> None:
    examples = table([("w1 w2", "w3 w4 w5", "w4 w5"), ("w1", "w6", None)])
    pairs, _ = Pairs.make(word_spec(cls_at_the_end=True), QAParameters(), examples, *answer_places(examples))
    batch = PairTensors.take(pairs, np.array([0, 1]), CPU)
    # w3 w4 w5 [SEP] w1 w2 [SEP] [CLS]
    assert batch.allowed.int().tolist() == [[1, 1, 1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0, 0]]
    assert (batch.first.tolist(), batch.last.tolist()) == ([1, 4], [2, 4])


def test_texts_are_distinct_and_short_enough() -> None:
    texts = strings([LONG, "w1", "", "w2 w3", "w1", words(range(6)), words(range(7))])
    kept = Texts.make(word_spec(), texts, 8)
    assert kept.prepared.passage.ids.tolist() == word_ids("w1 w2 w3 " + words(range(6)))
    assert kept.prepared.row_owner.tolist() == kept.prepared.windows.owner.tolist() == [0, 1, 2]
    assert kept.lengths.tolist() == [3, 4, 8]


def test_texts_are_cut_to_what_the_model_takes() -> None:
    kept = Texts.make(word_spec(max_length=8), strings([words(range(6)), words(range(7))]), 256)
    assert kept.prepared.passage.lengths.tolist() == [6]


def test_a_batch_of_texts() -> None:
    texts = Texts.make(word_spec(), strings(["w1 w2", "w3", "w4 w5 w6"]), 8)
    batch = TextTensors.take(texts, np.array([2, 1]), CPU)
    assert batch.inputs["input_ids"].tolist() == [[2, *word_ids("w4 w5 w6"), 3], [2, *word_ids("w3"), 3, 0, 0]]
    assert batch.mask.int().tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


@pytest.mark.parametrize("count", [1, 5])
def test_a_batch_is_the_same_windows_in_any_company(count: int) -> None:
    examples = few_rows()
    pairs, _ = Pairs.make(load_spec(DISTILBERT), QA, examples, *answer_places(examples))
    chosen = np.arange(len(pairs.lengths))[::7]
    alone = PairTensors.take(pairs, chosen[:count], CPU)
    together = PairTensors.take(pairs, chosen, CPU)
    width = alone.allowed.shape[1]
    assert alone.allowed.tolist() == together.allowed[:count, :width].tolist()
    assert alone.inputs["input_ids"].tolist() == together.inputs["input_ids"][:count, :width].tolist()
    assert (alone.first.tolist(), alone.last.tolist()) == (
        together.first.tolist()[:count],
        together.last.tolist()[:count],
    )
