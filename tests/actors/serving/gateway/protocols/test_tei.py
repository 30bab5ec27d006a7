from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pytest

from actors.arrays import Floats
from actors.engine.inference_task import Wanted
from actors.parameters import EmbeddingParameters
from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.gateway.protocols.tei import routes
from actors.serving.key_parameters import KeyParameters
from actors.serving.parameters import CorsParameters, LimitParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal, Refused
from actors.tokenization.preprocess import prepare_texts
from tests.actors.serving.helpers import InProcess, serving

TEXTS = ["Ada Lovelace was born in London in 1815.", "Der Rhein fließt nach Norden."]
LONG = "Ada " * 900
WINDOW = 512


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server) as client:
        yield client


def embed(replica: Replica, texts: list[str], normalize: bool = True) -> Floats:
    engine, embedding = replica.actor.engine, EmbeddingParameters(normalize=normalize)
    embeddings = engine.embed(prepare_texts(engine.spec, embedding, pa.array(texts))[0], embedding).embeddings
    assert embeddings is not None
    return embeddings


def answer(client: httpx2.Client, path: str, body: object) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def refusal(client: httpx2.Client, path: str, body: object) -> tuple[int, str, str]:
    response = client.post(path, json=body)
    shaped = response.json()
    assert set(shaped) == {"error", "error_type"}
    return response.status_code, shaped["error_type"], shaped["error"]


def test_embeddings_are_the_engines(client: httpx2.Client, replica: Replica) -> None:
    np.testing.assert_allclose(answer(client, "/embed", {"inputs": TEXTS}), embed(replica, TEXTS), atol=1e-5)
    one = answer(client, "/embed", {"inputs": TEXTS[0], "dimensions": 384, "truncation_direction": "right"})
    np.testing.assert_allclose(one, embed(replica, TEXTS[:1]), atol=1e-5)


def test_embeddings_as_long_as_they_are(client: httpx2.Client, replica: Replica) -> None:
    raw = answer(client, "/embed", {"inputs": TEXTS, "normalize": False})
    np.testing.assert_allclose(raw, embed(replica, TEXTS, normalize=False), atol=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_dimensions_cut_embeddings_before_they_are_scaled(
    client: httpx2.Client, replica: Replica, normalize: bool
) -> None:
    got = answer(client, "/embed", {"inputs": TEXTS, "dimensions": 128, "normalize": normalize})
    first = embed(replica, TEXTS, normalize=False)[:, :128]
    scale = np.linalg.norm(first, axis=1, keepdims=True) if normalize else 1
    np.testing.assert_allclose(got, first / scale, atol=1e-4)


def test_long_texts_are_refused_or_cut(client: httpx2.Client, replica: Replica) -> None:
    status, kind, message = refusal(client, "/embed", {"inputs": [TEXTS[0], LONG]})
    assert (status, kind) == (413, "Validation")
    assert "input 1 has 902 tokens" in message
    cut = answer(client, "/embed", {"inputs": LONG, "truncate": True})
    np.testing.assert_allclose(cut, embed(replica, ["Ada " * (WINDOW - 2)]), atol=1e-5)


def test_every_token_is_embedded(client: httpx2.Client, replica: Replica) -> None:
    engine = replica.actor.engine
    got = answer(client, "/embed_all", {"inputs": [*TEXTS, TEXTS[0]]})
    prepared, _ = prepare_texts(engine.spec, EmbeddingParameters(), pa.array(TEXTS))
    hidden = engine.finish(engine.begin(prepared, Wanted(window_states=True))).window_states
    assert hidden is not None
    for mine, theirs in zip(got, [*hidden, hidden[0]], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    # Their mean is what /embed gives.
    (pooled,) = answer(client, "/embed", {"inputs": TEXTS[0], "normalize": False})
    np.testing.assert_allclose(np.mean(got[0], axis=0), pooled, atol=1e-4)


def test_every_token_of_long_texts(client: httpx2.Client) -> None:
    assert refusal(client, "/embed_all", {"inputs": LONG})[:2] == (413, "Validation")
    (cut,) = answer(client, "/embed_all", {"inputs": LONG, "truncate": True})
    assert np.shape(cut) == (WINDOW, 384)


def test_tokens_say_where_they_stand(client: httpx2.Client, replica: Replica) -> None:
    text = "Naïve Ada 👩 unbelievably"
    first, second = answer(client, "/tokenize", {"inputs": [text, "Ada"]})
    tokenizer = replica.actor.engine.spec.tokenizer()
    assert [token["id"] for token in first] == tokenizer.encode(text).ids
    assert first[0] == {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None}
    assert first[-1] == {"id": 102, "text": "[SEP]", "special": True, "start": None, "stop": None}
    assert [token["text"] for token in first[1:4]] == ["Naïve", "Ada", "👩"]
    assert all(token["text"] == text[token["start"] : token["stop"]] for token in first[1:-1])
    assert [token["special"] for token in second] == [True, False, True]


def test_tokens_without_a_frame_and_of_a_long_text(client: httpx2.Client) -> None:
    (tokens,) = answer(client, "/tokenize", {"inputs": LONG, "add_special_tokens": False})
    assert len(tokens) == 900
    assert not any(token["special"] for token in tokens)
    assert (tokens[-1]["start"], tokens[-1]["stop"]) == (3596, 3599)


def test_info_says_what_is_true(client: httpx2.Client, replica: Replica) -> None:
    info = client.get("/info").json()
    assert info["model_id"] == info["served_model_name"] == "minilm-qa"
    assert info["model_sha"] == replica.actor.fingerprint
    assert info["model_dtype"] == "float32"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == WINDOW
    assert info["max_client_batch_size"] == 256
    assert info["auto_truncate"] is False
    assert (info["max_batch_tokens"], info["max_batch_requests"], info["tokenization_workers"]) == (1 << 20, 4096, 2)
    assert info["version"] == version("spanmill")


def test_health_is_an_empty_body(client: httpx2.Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("path", "extra", "named"),
    [
        ("/embed", {"tempreature": 1}, "tempreature: there is no such"),
        ("/embed", {"normalize": 1}, "normalize: "),
        ("/embed", {"prompt_name": "query"}, "prompt_name: there are no prompts here"),
        ("/embed", {"truncation_direction": "Left"}, "truncation_direction: texts are cut on the right"),
        ("/embed", {"truncation_direction": "Up"}, "truncation_direction: "),
        ("/embed", {"dimensions": 385}, "dimensions: minilm-qa gives 1 to 384, not 385"),
        ("/embed", {"dimensions": 0}, "dimensions: minilm-qa gives 1 to 384, not 0"),
        ("/embed_all", {"normalize": True}, "normalize: there is no such"),
        ("/embed_all", {"inputs": [[101, 102]]}, "inputs.0: "),
        ("/tokenize", {"truncate": True}, "truncate: there is no such"),
        ("/tokenize", {"inputs": 1}, "inputs: "),
    ],
)
def test_what_is_wrong_with_a_body_is_named(
    client: httpx2.Client, path: str, extra: dict[str, object], named: str
) -> None:
    status, kind, message = refusal(client, path, {"inputs": "a"} | extra)
    assert (status, kind) == (422, "Validation")
    assert message.startswith(named)


@pytest.mark.parametrize("path", ["/embed", "/embed_all", "/tokenize"])
def test_limits_and_texts_without_anything(client: httpx2.Client, path: str) -> None:
    assert refusal(client, path, {"inputs": []})[:2] == (400, "Empty")
    assert refusal(client, path, {"inputs": ["a", " "]})[:2] == (400, "Empty")
    assert refusal(client, path, {"inputs": ["a"] * 257})[:2] == (413, "Validation")


def test_a_text_of_which_the_tokenizer_knows_nothing(client: httpx2.Client) -> None:
    assert refusal(client, "/embed", {"inputs": "\u200b"})[:2] == (422, "Tokenizer")


@pytest.mark.parametrize(("path", "schema"), [("embed", "EmbedRequest"), ("embed_all", "EmbedAllRequest")])
def test_the_documents_examples_run(client: httpx2.Client, path: str, schema: str) -> None:
    (example,) = client.get("/openapi.json").json()["components"]["schemas"][schema]["examples"]
    assert len(answer(client, f"/{path}", example)) == 1


class Broken(InProcess):
    """No replica is ready."""

    async def ready(self) -> None:
        raise Refused(Refusal(503, "not_ready", "no model actor is ready; try again later"))


def test_a_service_that_is_not_ready_is_unhealthy(context: Context, replica: Replica) -> None:
    limits = LimitParameters(max_text_bytes=8)
    broken = replace(context, client=Broken(replica), limits=limits)
    app = build_app(broken, KeyParameters(none=True), CorsParameters())
    with serving(app) as url, httpx2.Client(base_url=url) as client:
        health = client.get("/health")
        assert (health.status_code, health.json()["error_type"]) == (503, "Unhealthy")
        assert refusal(client, "/tokenize", {"inputs": "a" * 9})[:2] == (413, "Validation")


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (429, "queue_full", "Overloaded"),
        (504, "deadline", "Backend"),
        (422, "crashed", "Backend"),
        (500, "internal", "Backend"),
        (401, "unauthorized", "Validation"),
    ],
)
def test_every_refusal_has_a_type(context: Context, status: int, reason: str, kind: str) -> None:
    shaped = routes(context).error_body(Refusal(status, reason, "what and the mend"))
    assert shaped == {"error": "what and the mend", "error_type": kind}
