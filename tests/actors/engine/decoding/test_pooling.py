"""Embeddings, against running the transformers model by hand."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModel, PreTrainedModel

from actors.backends.base import BatchLayout
from actors.backends.pytorch import torch_backend
from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.engine.engine import Engine
from actors.engine.inference_task import Results
from actors.errors import ModelError
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, PoolingName, QAParameters
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


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
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


POOLINGS: tuple[PoolingName, ...] = ("mean", "cls", "max", "last")
ALL = EmbeddingParameters(pooling=POOLINGS, normalize=False)


def _by_hand(windows: Sequence[tuple[Vector, Sequence[int]]]) -> dict[str, Vector]:
    """The poolings of a text, of its windows: their states, and the number of the text's token that each is of.

    A token of several windows has the mean of its states; -1 and -2 are the special tokens before and after the text.
    """
    states: dict[int, list[Vector]] = defaultdict(list)
    for hidden, numbers in windows:
        for number, vector in zip(numbers, hidden, strict=True):
            states[number].append(vector)
    everything = np.concatenate([np.stack(vectors) for vectors in states.values()])
    return {
        "mean": np.mean([np.mean(vectors, axis=0) for vectors in states.values()], axis=0),
        "max": everything.max(axis=0),
        "last": windows[-1][0][-1],
    }


@pytest.fixture(params=BatchLayout, scope="module")
def laid_out(request: pytest.FixtureRequest, models: dict[str, Loaded]) -> dict[str, Loaded]:
    """The models, packed and padded."""
    if request.param is BatchLayout.PACKED:
        return models
    padded = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_backend, "packed_pass", lambda *args, **kwargs: None)
        for name, model in models.items():
            backend = TorchBackend(load_model(model.folder, with_qa_head=True), ModelParameters(device="cpu"))
            assert backend.layout is BatchLayout.PADDED
            padded[name] = Loaded(model.folder, model.spec, backend)
    return padded


def _vectors(results: Results, part: str = "passage") -> dict[str, npt.NDArray[np.float32]]:
    return {str(found.pooling): found.values for found in results.vectors if found.part == part}


@pytest.mark.parametrize("stride", [0, 7])
@pytest.mark.parametrize("name", MODELS)
def test_every_pooling_of_texts_of_several_windows(
    laid_out: dict[str, Loaded], encoders: dict[str, PreTrainedModel], name: str, stride: int
) -> None:
    model = laid_out[name]
    frame = model.spec.single
    text_ids = model.spec.tokenizer().encode(LONG, add_special_tokens=False).ids
    windows, first_tokens = [], []
    for piece in _cut(len(text_ids), 24 - frame.specials, stride):
        ids = [*frame.prefix, *[text_ids[i] for i in piece], *frame.suffix]
        hidden = _hidden(encoders[name], ids, None)
        windows.append((hidden, [-1, *piece, -2]))
        first_tokens.append(hidden[0])
    expected = _by_hand(windows) | {"cls": np.mean(first_tokens, axis=0)}
    embedding = ALL.model_copy(update={"max_seq_len": 24, "doc_stride": stride})
    prepared, _ = prepare_texts(model.spec, embedding, strings([SHORT, LONG, "x"]))
    found = _vectors(model.engine().embed(prepared, embedding))
    assert list(found) == list(POOLINGS)
    for pooling in POOLINGS:
        np.testing.assert_allclose(found[pooling][1], expected[pooling], atol=1e-5, err_msg=pooling)
    short = _single_states(model, encoders[name], SHORT)
    np.testing.assert_allclose(found["max"][0], short.max(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["last"][0], short[-1], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_pooling_of_passages_and_questions_beside_answers(
    laid_out: dict[str, Loaded], encoders: dict[str, PreTrainedModel], name: str
) -> None:
    model = laid_out[name]
    frame, tokenizer = model.spec.pair, model.spec.tokenizer()
    question = tokenizer.encode(QUESTION, add_special_tokens=False).ids
    passage = tokenizer.encode(LONG, add_special_tokens=False).ids
    qa = QAParameters(max_seq_len=64, doc_stride=9)
    passages, questions, first_tokens = [], [], []
    for piece in _cut(len(passage), 64 - frame.specials - len(question), 9):
        ids = [*frame.prefix, *question, *frame.middle, *[passage[i] for i in piece], *frame.suffix]
        begin = len(frame.prefix) + len(question) + len(frame.middle)
        types = [0] * begin + [1] * (len(ids) - begin) if model.spec.uses_type_ids else None
        hidden = _hidden(encoders[name], ids, types)
        passages.append((hidden[begin : begin + len(piece)], list(piece)))
        asked = hidden[len(frame.prefix) : len(frame.prefix) + len(question)]
        questions.append((asked, list(range(len(question)))))
        first_tokens.append(hidden[0])
    assert len(passages) > 2
    cls = {"cls": np.mean(first_tokens, axis=0)}
    embedding = ALL.model_copy(update={"of": ("passage", "question")})
    prepared, _ = prepare(model.spec, qa, [("How many goats?", SHORT), (QUESTION, LONG)])
    results = model.engine().answer(prepared, qa, embedding)
    for part, windows in (("passage", passages), ("question", questions)):
        found = _vectors(results, part)
        for pooling, expected in (_by_hand(windows) | cls).items():
            np.testing.assert_allclose(found[pooling][1], expected, atol=1e-5, err_msg=f"{part} {pooling}")


@pytest.mark.parametrize("name", MODELS)
def test_company_changes_no_vector_of_any_pooling(laid_out: dict[str, Loaded], name: str) -> None:
    model, window = laid_out[name], {"max_seq_len": 24, "doc_stride": 5, "normalize": True}
    embedding = ALL.model_copy(update=window)
    texts = [SHORT, LONG, "x", "Ships ran aground there before the light.", LONG + SHORT]
    prepared, _ = prepare_texts(model.spec, embedding, strings(texts))
    together = _vectors(model.engine().embed(prepared, embedding))
    for pooling in POOLINGS:
        one = EmbeddingParameters.model_validate(window | {"pooling": pooling})
        for row, text in enumerate(texts):
            alone = _embed(model, [text], one)[0]
            np.testing.assert_allclose(together[pooling][row], alone, atol=1e-6, err_msg=pooling)


@pytest.mark.parametrize("normalize", [True, False])
def test_dimensions_are_the_first_numbers_and_scaled_anew(models: dict[str, Loaded], normalize: bool) -> None:
    whole = _embed(models["bert"], [SHORT, LONG], PLAIN)
    cut = EmbeddingParameters(dimensions=12, normalize=normalize)
    expected = whole[:, :12]
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(_embed(models["bert"], [SHORT, LONG], cut), expected, atol=1e-6)
    every = EmbeddingParameters(dimensions=32, normalize=False)
    np.testing.assert_array_equal(_embed(models["bert"], [SHORT, LONG], every), whole)


def test_more_dimensions_than_the_model_gives_are_refused(models: dict[str, Loaded]) -> None:
    with pytest.raises(ModelError, match="dimensions is 33, but the vectors of this model have 32 numbers"):
        _embed(models["bert"], [SHORT], EmbeddingParameters(dimensions=33))


@pytest.mark.parametrize("cls_at_the_end", [False, True])
def test_a_question_without_tokens_has_no_vector_and_spoils_no_other(cls_at_the_end: bool) -> None:
    backend, qa, spec = TableBackend(), QAParameters(max_seq_len=10, doc_stride=2), word_spec(512, cls_at_the_end)
    embedding = ALL.model_copy(update={"of": ("passage", "question")})
    asked, text = words([3, 4]), words([7, 8, 9, 1, 2, 5, 6, 7, 11])
    prepared, _ = prepare(spec, qa, [(asked, text), (" ", text), (asked, "w5")])
    results = Engine(backend, spec, BatchingParameters()).answer(prepared, qa, embedding)
    states = backend.hidden_table[np.array([7, 8])]
    expected = {"mean": states.mean(axis=0), "max": states.max(axis=0), "last": states[-1]}
    for found in results.vectors:
        assert np.isfinite(found.values).all()
        assert (None if found.is_missing is None else found.is_missing.tolist()) == (
            [False, True, False] if found.part == "question" else None
        )
        if found.part == "question" and found.pooling in expected:
            np.testing.assert_allclose(found.values[[0, 2]], [expected[found.pooling]] * 2, atol=1e-6)
            assert not found.values[1].any()
