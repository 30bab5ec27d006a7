"""Embeddings, against running the transformers model by hand."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModel, PreTrainedModel

from actors.engine.engine import Engine
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.tokenization.preprocess import prepare_texts
from tests.actors.conftest import Loaded
from tests.actors.helpers import MODELS, TableBackend, prepare, strings, word_spec, words

Vector = npt.NDArray[np.float64]

SHORT = "Ada keeps three goats in Brindle."
LONG = " ".join(["The lighthouse keeper, Agnes Bell, lit the lamp for the first time in 1837; naïve 日本 😀."] * 6)
QUESTION = "Who lit the lamp?"
PLAIN = EmbeddingParameters(normalize=False)


@pytest.fixture(scope="module")
def encoders(models: dict[str, Loaded]) -> dict[str, PreTrainedModel]:
    """The models without their QA heads, as transformers runs them."""
    return {name: AutoModel.from_pretrained(model.folder).eval() for name, model in models.items()}


def _hidden(encoder: PreTrainedModel, ids: Sequence[int], types: Sequence[int] | None) -> Vector:
    inputs = {"input_ids": torch.tensor([list(ids)])}
    if types is not None:
        inputs["token_type_ids"] = torch.tensor([list(types)])
    with torch.no_grad():
        states = encoder(**inputs).last_hidden_state[0]
    return np.asarray(states.double().numpy())


def _embed(model: Loaded, texts: Sequence[str], embedding: EmbeddingParameters) -> npt.NDArray[np.float32]:
    prepared, _ = prepare_texts(model.spec, embedding, strings(texts))
    found = model.engine().embed(prepared, embedding).embeddings
    assert found is not None
    return found


def _single_states(model: Loaded, encoder: PreTrainedModel, text: str) -> Vector:
    encoding = model.spec.tokenizer().encode(text)
    return _hidden(encoder, encoding.ids, encoding.type_ids if model.spec.uses_type_ids else None)


@pytest.mark.parametrize("name", MODELS)
def test_a_text_of_one_window_is_the_plain_mean_with_its_special_tokens(
    models: dict[str, Loaded], encoders: dict[str, PreTrainedModel], name: str
) -> None:
    texts = [SHORT, LONG, "x"]
    expected = [_single_states(models[name], encoders[name], text).mean(axis=0) for text in texts]
    np.testing.assert_allclose(_embed(models[name], texts, PLAIN), expected, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_cls_pooling_is_the_first_token(
    models: dict[str, Loaded], encoders: dict[str, PreTrainedModel], name: str
) -> None:
    found = _embed(models[name], [SHORT, LONG], EmbeddingParameters(pooling="cls", normalize=False))
    expected = [_single_states(models[name], encoders[name], text)[0] for text in (SHORT, LONG)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def _cut(length: int, capacity: int, stride: int) -> list[range]:
    pieces = [range(min(capacity, length))]
    while pieces[-1].stop < length:
        first = pieces[-1].stop - stride
        pieces.append(range(first, min(first + capacity, length)))
    return pieces


@pytest.mark.parametrize("stride", [0, 7])
@pytest.mark.parametrize("name", MODELS)
def test_a_long_text_counts_every_token_once(
    models: dict[str, Loaded], encoders: dict[str, PreTrainedModel], name: str, stride: int
) -> None:
    """A token's vector is its mean over the windows that hold it; so are the special tokens'."""
    model = models[name]
    frame = model.spec.single
    text_ids = model.spec.tokenizer().encode(LONG, add_special_tokens=False).ids
    states: dict[int, list[Vector]] = defaultdict(list)
    first_tokens = []
    for piece in _cut(len(text_ids), 24 - frame.specials, stride):
        ids = [*frame.prefix, *[text_ids[i] for i in piece], *frame.suffix]
        hidden = _hidden(encoders[name], ids, None)
        for position, vector in zip([-1, *piece, -2], hidden, strict=True):
            states[position].append(vector)
        first_tokens.append(hidden[0])
    assert len(first_tokens) > 3
    assert len(states) == len(text_ids) + 2
    expected = np.mean([np.mean(vectors, axis=0) for vectors in states.values()], axis=0)
    window = {"max_seq_len": 24, "doc_stride": stride, "normalize": False}
    found = _embed(model, [SHORT, LONG], EmbeddingParameters.model_validate(window))
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    by_cls = _embed(model, [LONG], EmbeddingParameters.model_validate(window | {"pooling": "cls"}))
    np.testing.assert_allclose(by_cls[0], np.mean(first_tokens, axis=0), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("name", MODELS)
def test_beside_answers_only_the_passages_own_tokens_count(
    models: dict[str, Loaded], encoders: dict[str, PreTrainedModel], name: str, pooling: str
) -> None:
    model = models[name]
    frame, tokenizer = model.spec.pair, model.spec.tokenizer()
    question = tokenizer.encode(QUESTION, add_special_tokens=False).ids
    passage = tokenizer.encode(LONG, add_special_tokens=False).ids
    qa = QAParameters(max_seq_len=64, doc_stride=9)
    states: dict[int, list[Vector]] = defaultdict(list)
    first_tokens = []
    for piece in _cut(len(passage), 64 - frame.specials - len(question), 9):
        ids = [*frame.prefix, *question, *frame.middle, *[passage[i] for i in piece], *frame.suffix]
        begin = len(frame.prefix) + len(question) + len(frame.middle)
        types = [0] * begin + [1] * (len(ids) - begin) if model.spec.uses_type_ids else None
        hidden = _hidden(encoders[name], ids, types)
        for position, vector in zip(piece, hidden[begin:], strict=False):
            states[position].append(vector)
        first_tokens.append(hidden[0])
    by_mean = np.mean([np.mean(vectors, axis=0) for vectors in states.values()], axis=0)
    expected = by_mean if pooling == "mean" else np.mean(first_tokens, axis=0)
    prepared, _ = prepare(model.spec, qa, [("How many goats?", SHORT), (QUESTION, LONG)])
    embedding = EmbeddingParameters.model_validate({"pooling": pooling, "normalize": False})
    results = model.engine().answer(prepared, qa, embedding)
    assert results.embeddings is not None
    np.testing.assert_allclose(results.embeddings[1], expected, atol=1e-5)


def test_an_embedding_beside_answers_leaves_the_answers_as_they_are(models: dict[str, Loaded]) -> None:
    model, qa = models["bert"], QAParameters(top_k=3)
    prepared, _ = prepare(model.spec, qa, [(QUESTION, LONG), ("How many goats?", SHORT)])
    alone = model.engine().answer(prepared, qa).answers
    beside = model.engine().answer(prepared, qa, PLAIN).answers
    assert alone is not None
    assert beside is not None
    assert beside.text.equals(alone.text)
    np.testing.assert_allclose(beside.score, alone.score, atol=1e-6)


def test_normalised_embeddings_have_length_one_and_keep_their_direction(models: dict[str, Loaded]) -> None:
    plain = _embed(models["bert"], [SHORT, LONG], PLAIN)
    unit = _embed(models["bert"], [SHORT, LONG], EmbeddingParameters())
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(plain, axis=1, keepdims=True), plain, atol=1e-5)


def test_rows_with_the_same_text_get_the_same_row(models: dict[str, Loaded]) -> None:
    found = _embed(models["distilbert"], [SHORT, LONG, SHORT, "", LONG], EmbeddingParameters())
    assert found.shape == (4, 32), "the empty text is not embedded"
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[3])
    assert np.abs(found[0] - found[1]).max() > 0.01


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_no_texts_give_a_matrix_without_rows(models: dict[str, Loaded], pooling: str) -> None:
    found = _embed(models["distilbert"], [], EmbeddingParameters.model_validate({"pooling": pooling}))
    assert found.shape == (0, 32)
    assert found.dtype == np.float32


def test_words_of_one_token_weigh_the_same_wherever_windows_cut_them() -> None:
    """Beside a table backend, whose states ignore their company, windows must not change the embedding."""
    backend, text = TableBackend(), words([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1])
    whole, _ = prepare(word_spec(), QAParameters(), [("w0", text)])
    pieces, _ = prepare(word_spec(), QAParameters(max_seq_len=8, doc_stride=2), [("w0", text)])
    engine = Engine(backend, word_spec(), BatchingParameters())
    one, many = (engine.answer(p, QAParameters(), PLAIN).embeddings for p in (whole, pieces))
    assert len(pieces.windows) > 3
    assert one is not None
    assert many is not None
    np.testing.assert_allclose(many, one, atol=1e-6)
