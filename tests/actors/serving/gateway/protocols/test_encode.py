"""All that the encoder gives of texts, as JSON: what a job writes for them."""

import json
from typing import Any

import httpx2
import numpy as np
import pytest

from actors.engine.inference_task import Wanted
from actors.parameters import AttentionParameters, EmbeddingParameters, TokenVectorParameters
from actors.serving.gateway.protocols.bodies.arrow_json import rows_json
from actors.serving.parameters import LimitParameters
from actors.serving.replica.codec import encode as encoded
from actors.serving.replica.replica import Replica
from actors.serving.types import Request, WantedColumns
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, NAME, InProcess

TEXTS = [LOVELACE, 'Ada keeps "three" goats in Brindle.', LOVELACE]
EVERYTHING = ["tokens", "embedding", "token_vectors", "hidden", "attention"]
NARROW: dict[str, Any] = {"max_seq_len": 12, "doc_stride": 4}
"""Several windows a text."""


def post(url: str, body: Any) -> tuple[int, Any]:
    reply = httpx2.post(f"{url}/encode", json=body)
    return reply.status_code, reply.json()


def rows_of_a_job(replica: Replica, embedding: EmbeddingParameters, wanted: Wanted) -> Any:
    """What the columns of an embedding job hold, as JSON."""
    names = tuple(name for name in EVERYTHING if name != "embedding")
    request = Request("x", "encode", tuple(TEXTS), embedding=embedding, columns=WantedColumns(names))
    prepared = encoded(replica.actor.engine.spec, request, LimitParameters())
    table, _ = replica.actor.process(prepared.to_ipc(), wanted)
    return json.loads(rows_json(table))


def same(got: Any, expected: Any, tolerance: float = 1e-4) -> bool:
    """Equal but for the last digits of numbers that were computed in another batch."""
    if isinstance(expected, dict):
        return set(got) == set(expected) and all(same(got[key], expected[key], tolerance) for key in expected)
    if isinstance(expected, list):
        if expected and isinstance(expected[0], int | float):
            return bool(np.allclose(got, expected, atol=tolerance))
        return len(got) == len(expected) and all(map(same, got, expected))
    return bool(got == expected)


def test_rows_are_the_columns_of_a_job(server: str, replica: Replica) -> None:
    status, told = post(server, {"inputs": TEXTS, "columns": EVERYTHING, "parameters": NARROW})
    assert status == 200
    assert set(told) == {"rows", "model", "usage", "timing_ms"}
    embedding = EmbeddingParameters(**NARROW)
    wanted = Wanted(
        embedding=embedding,
        token_texts=True,
        token_vectors=TokenVectorParameters(),
        layer_vectors=True,
        attention=AttentionParameters(),
    )
    expected = rows_of_a_job(replica, embedding, wanted)
    assert [set(row) for row in told["rows"]] == [set(EVERYTHING)] * 3
    for name in ("tokens", "embedding", "token_vectors", "hidden"):
        assert same([row[name] for row in told["rows"]], [row[name] for row in expected]), name
    for row, theirs in zip(told["rows"], expected, strict=True):
        for mine, window in zip(row["attention"], theirs["attention"], strict=True):
            # Equal weights may change places.
            np.testing.assert_allclose(mine.pop("weights"), window.pop("weights"), atol=1e-4)
            assert np.mean(np.equal(mine.pop("targets"), window.pop("targets"))) > 0.99
            assert mine == window


def test_without_columns_it_gives_embeddings(server: str, replica: Replica) -> None:
    for inputs in (TEXTS, TEXTS[0]):
        status, told = post(server, {"inputs": inputs})
        assert status == 200
        expected = rows_of_a_job(replica, EmbeddingParameters(), Wanted(embedding=EmbeddingParameters()))
        assert same(told["rows"], expected[: len(told["rows"])])
        assert len(told["rows"]) == (1 if isinstance(inputs, str) else 3)


def test_parameters_of_columns_are_those_of_a_job(server: str, replica: Replica) -> None:
    vectors = {"layers": [1, 3], "dtype": "int8"}
    asked = {"pooling": "cls", "normalize": False, "attention": {"top": "all", "layers": [2]}, "token_vectors": vectors}
    names = ["token_vectors", "hidden", "attention"]
    status, told = post(server, {"inputs": TEXTS, "columns": names, "parameters": asked})
    assert status == 200
    embedding = EmbeddingParameters(pooling="cls", normalize=False)
    wanted = Wanted(
        embedding=embedding,
        embeddings=False,
        token_vectors=TokenVectorParameters(layers=(1, 3), dtype="int8"),
        layer_vectors=True,
        attention=AttentionParameters(top=None, layers=(2,)),
    )
    for mine, theirs in zip(told["rows"], rows_of_a_job(replica, embedding, wanted), strict=True):
        assert set(mine) == set(names)
        # A number that lies between two whole ones may become either.
        np.testing.assert_allclose(mine["token_vectors"]["values"], theirs["token_vectors"]["values"], atol=1)
        assert same(mine["token_vectors"]["scales"], theirs["token_vectors"]["scales"])
        assert same(mine["hidden"], theirs["hidden"])
        assert same(mine["attention"], theirs["attention"])
        assert mine["attention"][0]["targets"] is None


@pytest.mark.parametrize("dtype", ["int8", "binary"])
def test_several_small_embeddings_are_those_of_a_job(server: str, replica: Replica, dtype: Any) -> None:
    asked = {"pooling": ["max", "mean"], "dtype": dtype, "dimensions": 64}
    status, told = post(server, {"inputs": TEXTS, "parameters": asked})
    assert status == 200
    embedding = EmbeddingParameters(pooling=("max", "mean"), dtype=dtype, dimensions=64)
    for mine, theirs in zip(told["rows"], rows_of_a_job(replica, embedding, Wanted(embedding=embedding)), strict=True):
        assert set(mine) == {"embedding_mean", "embedding_max"}
        for name, numbers in theirs.items():
            # A number that lies between two may become either.
            near = np.abs(np.subtract(mine[name], numbers)) <= (1 if dtype == "int8" else 0)
            assert np.mean(near) > 0.8
            assert len(numbers) == (64 if dtype == "int8" else 8)


def test_dimensions_cut_and_scale(server: str) -> None:
    (whole,) = post(server, {"inputs": TEXTS[0]})[1]["rows"]
    (cut,) = post(server, {"inputs": TEXTS[0], "parameters": {"dimensions": 16}})[1]["rows"]
    first = np.array(whole["embedding"][:16])
    np.testing.assert_allclose(cut["embedding"], first / np.linalg.norm(first), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"columns": ["attribution"]}, "columns.0: input should be 'tokens', 'embedding'"),
        ({"columns": []}, "columns: list should have at least 1 item"),
        ({"columns": "tokens"}, "columns: input should be a valid list"),
        ({"parameters": {"attention": {"top": 0}}}, "parameters.attention.top: input should be greater"),
        ({"parameters": {"attention": {"top": "some"}}}, "parameters.attention.top: input should be 'all'"),
        ({"parameters": {"attention": {"layers": [0]}}}, "parameters.attention.layers.0: input should be greater"),
        ({"parameters": {"attention": {"layers": []}}}, "parameters.attention.layers: "),
        (
            {"parameters": {"token_vectors": {"layers": "first"}}},
            "parameters.token_vectors.layers: input should be '",
        ),
        ({"parameters": {"token_vectors": {"layers": [-1]}}}, "parameters.token_vectors.layers.0: input should be gr"),
        ({"parameters": {"token_vectors": {"layers": -1}}}, "parameters.token_vectors.layers: input should be greater"),
        ({"parameters": {"pooling": "max"}, "columns": ["hidden"]}, "columns: hidden is one mean of each layer's"),
        ({"parameters": {"pooling": ["cls", "mean"]}, "columns": ["hidden"]}, "columns: hidden is one mean"),
        ({"parameters": {"token_vectors": {"dtype": "int4"}}}, "parameters.token_vectors.dtype: "),
        ({"parameters": {"dimensions": 385}}, "parameters.dimensions: minilm-qa gives 1 to 384, not 385"),
        ({"parameters": {"dimensions": 0}}, "parameters.dimensions: minilm-qa gives 1 to 384, not 0"),
        ({"parameters": {"pooling": "median"}}, "parameters.pooling: value error, 'median' is no pooling"),
        ({"parameters": {"dtype": "int8", "normalize": False}}, "parameters: value error, dtype: int8 without"),
        ({"parameters": {"max_seq_len": 5000}}, "embedding.max_seq_len is 5000"),
        ({"parameters": {"top_k": 2}}, "parameters.top_k: there is no such field here"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(server: str, body: Any, said: str) -> None:
    status, told = post(server, {"inputs": TEXTS[0]} | body)
    assert (status, told["reason"]) == (422, "invalid")
    assert told["error"].startswith(said)


@pytest.mark.parametrize(
    ("columns", "parameters", "said"),
    [
        (["attention"], {"attention": {"layers": [7]}}, "7"),
        (["token_vectors"], {"token_vectors": {"layers": 9}}, "9"),
    ],
)
def test_layers_that_the_model_lacks_are_named(server: str, columns: Any, parameters: Any, said: str) -> None:
    status, told = post(server, {"inputs": TEXTS[0], "columns": columns, "parameters": parameters})
    assert (status, told["reason"]) == (422, "invalid")
    assert said in told["error"]


def test_a_reply_that_would_be_too_large_is_refused_before_it_is_computed(serve: Serve, replica: Replica) -> None:
    small = Replica(replica.actor, replica.card, limits=LimitParameters(max_reply_bytes=200_000))
    url = serve(client=InProcess(small))
    body = {"inputs": TEXTS, "columns": ["tokens", "attention"], "parameters": {"attention": {"top": "all"}}}
    status, told = post(url, body)
    assert (status, told["reason"]) == (413, "reply_too_large")
    assert "of them attention, and 0.2 MiB are the most (limits.max_reply_bytes)" in told["error"]
    assert "name fewer attention.layers" in told["error"]
    fewer = {"inputs": TEXTS[:1], "columns": ["attention"], "parameters": {"attention": {"top": 2, "layers": [1]}}}
    assert post(url, fewer)[0] == 200


def test_columns_that_the_runtime_lacks_are_refused_by_name(serve: Serve, replica: Replica) -> None:
    from dataclasses import replace

    card = replace(replica.card, columns=("tokens", "embedding", "token_vectors"), backend="ctranslate2")
    url = serve(client=InProcess(Replica(replica.actor, card)))
    status, told = post(url, {"inputs": TEXTS, "columns": ["tokens", "hidden"]})
    assert (status, told["reason"]) == (422, "no_column")
    assert told["error"].startswith("columns: hidden cannot be had of minilm-qa as it runs here, with ctranslate2")
    assert "model.backend: torch" in told["error"]
    layers = {"inputs": TEXTS, "columns": ["token_vectors"], "parameters": {"token_vectors": {"layers": 2}}}
    status, told = post(url, layers)
    assert (status, told["reason"]) == (422, "no_column")
    assert told["error"].startswith("parameters.token_vectors.layers: ")
    assert httpx2.get(f"{url}/model").json()["columns"] == ["tokens", "embedding", "token_vectors"]


def test_the_model_tells_what_can_be_had_of_it(server: str, replica: Replica) -> None:
    told = httpx2.get(f"{server}/model").json()
    assert (told["name"], told["answers"], told["backend"]) == (NAME, True, "torch")
    assert told["columns"] == [*EVERYTHING, "attribution"]
    assert (told["layers"], told["heads"], told["hidden_size"]) == (6, 12, 384)
