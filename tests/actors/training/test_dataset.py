"""What a run learns from, as arrays."""

import numpy as np
import pytest

from actors.models.loading import load_spec
from actors.parameters import QAParameters
from actors.training.dataset import Pairs, PairTensors, Texts, TextTensors
from actors.training.setup import answer_places
from tests.actors.helpers import strings, word_ids, word_spec, words
from tests.actors.training.helpers import CPU, DISTILBERT, QA, few_rows, table

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
