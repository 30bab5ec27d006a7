"""`Embedder`, against the engine."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from actors.errors import ModelError
from actors.parameters import EmbeddingParameters
from spanmill import Embedder
from tests.actors.helpers import GOLDEN
from tests.pipelines.jobs import bare_engine

MODEL = GOLDEN / "models" / "distilbert"
TEXTS = ["Ada waits by the mill.", "Bo ground the oats.", "word " * 1500]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(str(MODEL), device="cpu")


@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_are_the_engines(embedder: Embedder, normalize: bool) -> None:
    wanted = bare_engine(MODEL, [{"text": text} for text in TEXTS], embedding=EmbeddingParameters(normalize=normalize))
    found = embedder.encode(TEXTS, normalize_embeddings=normalize, batch_size=2)
    assert found.shape == (3, embedder.dimension)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [row["embedding"] for row in wanted], atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5) == normalize


def test_one_text_has_one_vector_and_tensors_are_given_on_request(
    embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    many = embedder.encode(TEXTS, show_progress_bar=True)
    assert "embedding" in capsys.readouterr().err
    one = embedder.encode(TEXTS[0])
    assert one.shape == (embedder.dimension,)
    np.testing.assert_allclose(one, many[0], atol=1e-5)
    tensor = embedder.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.numpy(), many, atol=1e-5)
    assert embedder.encode([]).shape == (0, embedder.dimension)


def test_texts_without_a_vector_are_named(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="text 1 holds no token"):
        embedder.encode(["a", " "])
    with pytest.raises(TypeError, match="text 1 is of type NoneType"):
        embedder.encode(["a", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="text 0 is of type int"):
        embedder.encode([1, 2])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="sentences is None; give a string, or many"):
        embedder.encode(None)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="'sum' is no pooling; there are mean, cls, max, last"):
        Embedder(pooling="sum")  # type: ignore[arg-type]


def test_precision_and_dtype_cannot_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="precision is exact and dtype is float16, which contradict"):
        Embedder(precision="exact", dtype="float16")
    with pytest.raises(ValueError, match="'exact', 'fast' or 'auto'"):
        Embedder(precision="half")


def test_texts_come_in_many_forms(embedder: Embedder) -> None:
    wanted = embedder.encode(TEXTS[:2])
    for texts in (np.array(TEXTS[:2]), pd.Series(TEXTS[:2]), pa.array(TEXTS[:2]), iter(TEXTS[:2])):
        np.testing.assert_allclose(embedder.encode(texts), wanted, atol=1e-5)


def test_several_poolings_are_a_dict_of_arrays() -> None:
    several = Embedder(str(MODEL), device="cpu", pooling=["max", "mean"])
    found: Any = several.encode(TEXTS)
    assert list(found) == ["embedding_mean", "embedding_max"]
    alone = Embedder(str(MODEL), device="cpu", pooling="max").encode(TEXTS)
    np.testing.assert_allclose(found["embedding_max"], alone, atol=1e-6)
    one: Any = several.encode(TEXTS[0])
    assert one["embedding_mean"].shape == (several.dimension,)


def test_fewer_numbers_in_fewer_bits(embedder: Embedder) -> None:
    whole = embedder.encode(TEXTS, normalize_embeddings=False)
    cut = Embedder(str(MODEL), device="cpu", dimensions=12)
    first = whole[:, :12] / np.linalg.norm(whole[:, :12], axis=1, keepdims=True)
    assert cut.dimension == 12
    np.testing.assert_allclose(cut.encode(TEXTS), first, atol=1e-6)
    int8 = Embedder(str(MODEL), device="cpu", dimensions=12, output_dtype="int8")
    numbers: Any = int8.encode(TEXTS)
    assert numbers.dtype == np.int8
    np.testing.assert_allclose(numbers * int8.int8_scale, first, atol=int8.int8_scale / 2 + 1e-6)
    bits: Any = Embedder(str(MODEL), device="cpu", dimensions=12, output_dtype="binary").encode(TEXTS)
    np.testing.assert_array_equal(bits, np.packbits(first > 0, axis=1))
    tensor = int8.encode(TEXTS[:2], convert_to_tensor=True)
    assert tensor.dtype == torch.int8
    with pytest.raises(ValueError, match="needs int8_range"):
        int8.encode(TEXTS, normalize_embeddings=False)
    with pytest.raises(ModelError, match="dimensions is 33"):
        Embedder(str(MODEL), device="cpu", dimensions=33)
    with pytest.raises(ValueError, match="output_dtype"):
        Embedder(str(MODEL), output_dtype="int4")  # type: ignore[arg-type]


def test_all_that_the_model_makes_of_a_text(embedder: Embedder) -> None:
    names = ["embedding", "tokens", "token_vectors", "hidden", "attention"]
    many = embedder.encode(TEXTS[:2], output=names, normalize_embeddings=False, attention={"layers": [2], "top": None})
    assert [list(row) for row in many] == [names, names]
    first = many[0]
    assert "".join(TEXTS[0][token["start"] : token["end"]] for token in first["tokens"]) == TEXTS[0].replace(" ", "")
    assert first["token_vectors"].shape == (len(first["tokens"]), embedder.dimension)
    np.testing.assert_allclose(first["hidden"][-1], first["embedding"], atol=1e-5)
    assert first["hidden"].shape == (3, embedder.dimension)
    (window,) = first["attention"]
    size = len(window["tokens"])
    assert size == len(first["tokens"]) + 2
    assert window["weights"].shape == (1, 2, size, size)
    np.testing.assert_allclose(window["weights"].sum(axis=-1), 1, atol=1e-5)
    assert window["targets"] is None
    # The special tokens are no tokens of the text, and count in its mean.
    states = embedder.encode(TEXTS[0], output="token_vectors")
    np.testing.assert_allclose(states, first["token_vectors"], atol=1e-5)
    top = embedder.encode(TEXTS[0], output=["attention"], attention={"top": 3})["attention"][0]
    assert top["targets"].shape == top["weights"].shape == (2, 2, size, 3)
    dense = window["weights"][0, 0]
    np.testing.assert_allclose(top["weights"][1, 0], np.sort(dense, axis=-1)[:, :-4:-1], atol=1e-5)


def test_token_vectors_of_other_layers_and_types(embedder: Embedder) -> None:
    exact = embedder.encode(TEXTS[0], output="token_vectors", token_vectors={"layers": 1})
    int8 = embedder.encode(TEXTS[0], output="token_vectors", token_vectors={"layers": 1, "dtype": "int8"})
    assert int8["values"].dtype == np.int8
    restored = int8["values"] * int8["scales"][:, None]
    np.testing.assert_allclose(restored, exact, atol=np.abs(exact).max() / 127)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "sentence"}, "'sentence' is no column; there are embedding, tokens"),
        ({"output": []}, "output names nothing"),
        ({"output": ["tokens", "tokens"]}, "output names one twice"),
        ({"output": "tokens", "attention": {"top": 2}}, "attention is given, and output does not name it"),
        ({"output": "tokens", "convert_to_tensor": True}, "convert_to_tensor is for output='embedding'"),
        ({"output": "attention", "attention": {"top": 0}}, "top"),
    ],
)
def test_what_there_is_not_is_named(embedder: Embedder, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedder.encode(TEXTS, **arguments)
    with pytest.raises(TypeError, match="unknown parameter layer"):
        embedder.encode(TEXTS, output="attention", attention={"layer": 1})
