"""Vectors of chunks, against running the transformers model by hand."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from transformers import AutoModel

from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.errors import NotANumber
from actors.parameters import BatchingParameters, ChunkParameters, EmbeddingParameters
from actors.tokenization.chunked_texts import prepare_chunks
from actors.tokenization.preprocess import prepare_texts
from tests.actors.conftest import Loaded
from tests.actors.helpers import MODELS, TableBackend, strings, word_ids, word_spec, words

SHORT = "Ada keeps three goats in Brindle."
LONG = " ".join(f"The lighthouse keeper, Agnes Bell, lit lamp {n} in 18{n}; naïve 日本 😀." for n in range(10, 18))
Vectors = npt.NDArray[np.float64]


def _embed(
    model: Loaded, texts: list[str], chunk: ChunkParameters, embedding: EmbeddingParameters, windows: int = 3
) -> tuple[npt.NDArray[np.float32], pa.Table]:
    prepared, _, chunks = prepare_chunks(model.spec, embedding, chunk, strings(texts))
    wanted = Wanted(embedding=embedding, late_chunks=chunk.context == "document")
    engine = model.engine(BatchingParameters(fixed_windows=windows))
    found = engine.finish(engine.begin(prepared, wanted)).embeddings
    assert found is not None
    return found, chunks


def _token_vectors(model: Loaded, text: str, capacity: int, stride: int) -> Vectors:
    """[T, D] of every token of a text, from the window where it stands farthest from an edge."""
    encoder = AutoModel.from_pretrained(model.folder).eval()
    template, ids = model.spec.single, model.spec.tokenizer().encode(text, add_special_tokens=False).ids
    best: dict[int, tuple[int, Vectors]] = {}
    first = 0
    while True:
        own = ids[first : first + capacity]
        inputs = {"input_ids": torch.tensor([[*template.prefix, *own, *template.suffix]])}
        with torch.no_grad():
            states = encoder(**inputs).last_hidden_state[0].double().numpy()
        for place in range(len(own)):
            distance = min(place, len(own) - 1 - place)
            if first + place not in best or best[first + place][0] < distance:
                best[first + place] = distance, states[len(template.prefix) + place]
        if first + len(own) == len(ids):
            break
        first += capacity - stride
    return np.array([best[place][1] for place in range(len(ids))])


@pytest.mark.parametrize("stride", [0, 3, 9])
@pytest.mark.parametrize("name", MODELS)
def test_late_chunks_are_means_of_the_document_s_token_vectors(
    models: dict[str, Loaded], name: str, stride: int
) -> None:
    model = models[name]
    specials = model.spec.single.specials
    embedding = EmbeddingParameters(normalize=False, max_seq_len=12 + specials, doc_stride=stride)
    chunk = ChunkParameters(by="tokens", tokens=20, overlap=5)
    found, chunks = _embed(model, [LONG, SHORT, LONG], chunk, embedding)
    assert len(found) == len(chunks)
    ranges = prepare_chunks(model.spec, embedding, chunk, strings([LONG, SHORT]))[0].chunks
    assert ranges is not None
    by_text = [_token_vectors(model, text, 12, stride) for text in (LONG, SHORT)]
    places = zip(ranges.owner, ranges.first, ranges.stop, strict=True)
    expected = [by_text[owner][first:stop].mean(axis=0) for owner, first, stop in places]
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-5)
    long_ones = np.array(chunks["row"]) == 0
    np.testing.assert_array_equal(found[np.array(chunks["row"]) == 2], found[long_ones])


def test_a_document_of_one_window_is_not_divided_before_it_is_read(models: dict[str, Loaded]) -> None:
    chunk, embedding = ChunkParameters(tokens=4, by="tokens"), EmbeddingParameters()
    late, _ = _embed(models["bert"], [SHORT], chunk, embedding)
    alone, _ = _embed(models["bert"], [SHORT], chunk.model_copy(update={"context": "chunk"}), embedding)
    assert np.abs(late - alone).max() > 1e-3
    np.testing.assert_allclose(np.linalg.norm(late, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("windows", [1, 2, 64])
def test_passes_of_any_size_give_the_same_vectors(models: dict[str, Loaded], windows: int) -> None:
    embedding = EmbeddingParameters(max_seq_len=32, doc_stride=10)
    chunk = ChunkParameters(tokens=12)
    expected, _ = _embed(models["distilbert"], [LONG, SHORT, "x"], chunk, embedding)
    found, _ = _embed(models["distilbert"], [LONG, SHORT, "x"], chunk, embedding, windows)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("by", ["sentence", "tokens"])
def test_chunks_as_texts_of_their_own_are_what_their_texts_give_alone(
    models: dict[str, Loaded], name: str, by: str
) -> None:
    embedding = EmbeddingParameters(normalize=False)
    chunk = ChunkParameters.model_validate({"by": by, "tokens": 20, "context": "chunk", "text": True})
    found, chunks = _embed(models[name], [LONG, SHORT], chunk, embedding)
    alone = []
    for text in chunks["text"].to_pylist():
        prepared, _ = prepare_texts(models[name].spec, embedding, strings([text]))
        vectors = models[name].engine().embed(prepared, embedding).embeddings
        assert vectors is not None
        alone.append(vectors[0])
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_chunks_of_some_owners_are_those_of_all() -> None:
    spec, embedding = word_spec(max_length=10), EmbeddingParameters(max_seq_len=10, doc_stride=3)
    texts = strings([words(range(20)), words(range(5, 9)), words(range(30, 55))])
    prepared, _, _ = prepare_chunks(spec, embedding, ChunkParameters(tokens=6, overlap=2, by="tokens"), texts)
    wanted = Wanted(embedding=embedding, late_chunks=True)
    engine = Engine(TableBackend(), spec, BatchingParameters(fixed_windows=2))
    whole = engine.finish(engine.begin(prepared, wanted)).embeddings
    owners = np.array([2, 0], dtype=np.int32)
    part = engine.finish(engine.begin(prepared.of_owners(owners), wanted)).embeddings
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(part, whole[prepared.results_of(owners)])


@pytest.mark.parametrize("windows", [1, 2])
def test_overlapping_chunks_may_end_where_the_states_of_a_pass_do(windows: int) -> None:
    """No special token ends a window of this model."""
    spec, embedding = word_spec(max_length=9), EmbeddingParameters(max_seq_len=9, normalize=False)
    spec = replace(spec, single=replace(spec.single, suffix=(), suffix_types=()))
    text = words(range(16))
    prepared, _, _ = prepare_chunks(spec, embedding, ChunkParameters(tokens=9, overlap=4, by="tokens"), strings([text]))
    assert prepared.chunks is not None
    stops = prepared.windows.stop.tolist()
    crossing = (prepared.chunks.first < stops[0]) & (prepared.chunks.stop >= stops[0])
    assert (len(stops), int(crossing.sum())) == (2, 2)
    backend = TableBackend()
    engine = Engine(backend, spec, BatchingParameters(fixed_windows=windows))
    found = engine.finish(engine.begin(prepared, Wanted(embedding=embedding, late_chunks=True))).embeddings
    assert found is not None
    states = backend.hidden_table[word_ids(text)]
    places = zip(prepared.chunks.first, prepared.chunks.stop, strict=True)
    np.testing.assert_allclose(found, [states[first:stop].mean(axis=0) for first, stop in places], atol=1e-6)


def test_a_model_that_computes_nan_is_an_error() -> None:
    backend = TableBackend()
    backend.hidden_table[:] = np.nan
    prepared, _, _ = prepare_chunks(word_spec(), EmbeddingParameters(), ChunkParameters(), strings(["w1 w2"]))
    engine = Engine(backend, word_spec(), BatchingParameters())
    with pytest.raises(NotANumber):
        engine.finish(engine.begin(prepared, Wanted(embedding=EmbeddingParameters(), late_chunks=True)))
