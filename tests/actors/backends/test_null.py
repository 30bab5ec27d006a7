"""The null backend makes numbers up, and they are a window's own."""

import numpy as np
import numpy.typing as npt

from actors.backends.null import NullBackend
from actors.batch import Batch
from actors.engine.collate import collate
from actors.engine.engine import Engine
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import PAD, answers_of, prepare, strings, word_spec, words

PAIRS = [
    (words([1, 2]), words(range(10, 40))),
    (words([3]), words([7, 8, 9])),
    (words([5, 5, 6]), words([0, 1] * 9)),
]


def _batch(chosen: list[int]) -> Batch:
    prepared, _ = prepare(word_spec(), QAParameters(), PAIRS)
    return collate(prepared, word_spec().pair, np.array(chosen), PAD, uses_type_ids=True)


def test_a_window_gets_the_same_logits_alone_and_in_company() -> None:
    backend, together = NullBackend(8), _batch([0, 1, 2])
    company = backend.forward(together, True, None)
    for row in range(3):
        alone = backend.forward(_batch([row]), True, None)
        length = int(together.lengths[row])
        for mine, theirs in ((alone.start_logits, company.start_logits), (alone.end_logits, company.end_logits)):
            assert mine is not None
            assert theirs is not None
            np.testing.assert_array_equal(mine[0, :length], theirs[row, :length])


def test_logits_hang_on_the_token_and_on_its_place() -> None:
    start = NullBackend(8).forward(_batch([2]), True, None).start_logits
    assert start is not None
    assert start.dtype == np.float32
    assert start.shape == (1, 24)
    assert len(np.unique(start)) > 20, "the passage repeats two words, at other places each time"


def test_only_what_was_asked_for_comes_back() -> None:
    batch = _batch([0, 1])
    spans = NullBackend(8).forward(batch, True, None)
    assert spans.pooled is None
    vectors = NullBackend(8).forward(batch, False, np.ones((2, 3, batch.width), dtype=np.float32))
    assert vectors.start_logits is None
    assert vectors.end_logits is None
    assert vectors.pooled is not None
    assert vectors.pooled.shape == (2, 3, 8)


def test_an_embedding_is_the_same_alone_and_in_company() -> None:
    embedding = EmbeddingParameters(normalize=False)
    texts = [context for _, context in PAIRS]

    def embed(some: list[str]) -> npt.NDArray[np.float32]:
        engine = Engine(NullBackend(8), word_spec(), BatchingParameters())
        prepared, _ = prepare_texts(engine.spec, embedding, strings(some))
        vectors = engine.embed(prepared, embedding).embeddings
        assert vectors is not None
        return vectors

    together = embed(texts)
    assert np.linalg.matrix_rank(together) == 2, "the texts have vectors of their own"
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(embed([text])[0], vector, atol=1e-5)


def test_its_answers_are_spans_of_the_passage() -> None:
    engine = Engine(NullBackend(8), word_spec(), BatchingParameters())
    prepared, _ = prepare(engine.spec, QAParameters(), PAIRS)
    answers = engine.answer(prepared, QAParameters()).answers
    assert answers is not None
    for (_, context), (answer,) in zip(PAIRS, answers_of(answers), strict=True):
        assert answer.text
        assert context[answer.start : answer.end] == answer.text


def test_hidden_states_pool_to_the_pooled_vectors() -> None:
    batch = _batch([0, 1])
    weights = np.random.default_rng(0).random(batch.input_ids.shape, dtype=np.float32)
    output = NullBackend(8).forward(batch, False, weights[:, None], want_hidden=True)
    assert output.hidden is not None
    assert output.pooled is not None
    np.testing.assert_allclose(np.einsum("ns,nsd->nd", weights, output.hidden), output.pooled[:, 0], atol=1e-3)
