"""Probabilities of start and end, of every token of every window, whatever shares its pass."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actors.arrays import Floats
from actors.engine.decoding.window_probabilities import WINDOW
from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.errors import NotANumber
from actors.parameters import BatchingParameters, QAParameters
from actors.tokenization.preprocess import prepare_pairs
from tests.actors.helpers import TableBackend, strings, word_ids, word_spec, words

SPEC = word_spec()
QA = QAParameters(max_seq_len=14, doc_stride=3, max_answer_len=4)
PAIRS = [("w1", words(range(20))), ("w2 w3", "w5 w6"), ("w1", words(range(20)))]
WANTED = Wanted(qa=QA, probabilities=True)


def _windows(fixed: int, backend: TableBackend | None = None) -> tuple[list[list[dict[str, Any]]], TableBackend]:
    backend = backend or TableBackend()
    engine = Engine(backend, SPEC, BatchingParameters(fixed_windows=fixed))
    questions, passages = (strings(texts) for texts in zip(*PAIRS, strict=True))
    prepared, _ = prepare_pairs(SPEC, QA, questions, passages, keep_texts=True)
    found = engine.finish(engine.begin(prepared, WANTED)).probabilities
    assert found is not None
    assert found.type == pa.list_(WINDOW)
    return found.to_pylist(), backend


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


@pytest.mark.parametrize("fixed", [1, 2, 64])
def test_they_are_the_softmax_over_the_passage_and_the_first_token(fixed: int) -> None:
    rows, backend = _windows(fixed)
    for (question, passage), windows in zip(PAIRS, rows, strict=True):
        seen = list[str]()
        for window in windows:
            tokens = window["tokens"]
            may_be = [place for place, token in enumerate(tokens) if token["part"] == "passage" or not place]
            ids = np.array([token["id"] for token in tokens])
            for name, table in (("start", backend.start_table), ("end", backend.end_table)):
                expected = np.zeros(len(tokens))
                expected[may_be] = _softmax(table[ids[may_be]])
                np.testing.assert_allclose(np.array(window[name]), expected, atol=1e-6)
            assert [token["text"] for token in tokens if token["part"] == "question"] == question.split()
            own = [token["text"] for token in tokens if token["part"] == "passage"]
            assert passage.split()[window["first"] : window["first"] + len(own)] == own
            seen += own
        assert set(seen) == set(passage.split())
    assert len(rows[0]) > 1
    assert rows[0] == rows[2]


def test_a_number_that_is_none_is_an_error() -> None:
    backend = TableBackend()
    backend.end_table[word_ids("w5")] = np.nan
    with pytest.raises(NotANumber):
        _windows(64, backend)
