"""`Embedder`, against the engine."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

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
    with pytest.raises(ValueError, match="pooling should be 'mean' or 'cls'"):
        Embedder(pooling="max")  # type: ignore[arg-type]


def test_precision_and_dtype_cannot_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="precision is exact and dtype is float16, which contradict"):
        Embedder(precision="exact", dtype="float16")
    with pytest.raises(ValueError, match="'exact', 'fast' or 'auto'"):
        Embedder(precision="half")


def test_texts_come_in_many_forms(embedder: Embedder) -> None:
    wanted = embedder.encode(TEXTS[:2])
    for texts in (np.array(TEXTS[:2]), pd.Series(TEXTS[:2]), pa.array(TEXTS[:2]), iter(TEXTS[:2])):
        np.testing.assert_allclose(embedder.encode(texts), wanted, atol=1e-5)
