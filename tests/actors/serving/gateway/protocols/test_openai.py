from base64 import b64decode
from collections.abc import Iterator

import httpx2
import numpy as np
import openai
import pyarrow as pa
import pytest
from openai import OpenAI

from actors.arrays import Floats
from actors.parameters import EmbeddingParameters
from actors.serving.gateway.context import Context
from actors.serving.gateway.protocols.openai import routes
from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal
from actors.tokenization.preprocess import prepare_texts

TEXTS = ["Ada Lovelace was born in London in 1815.", "Der Rhein fließt nach Norden.", "Ada " * 900]
SERVED = "minilm-qa"


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server}/v1", api_key="x", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected(replica: Replica) -> Floats:
    engine, embedding = replica.actor.engine, EmbeddingParameters()
    embeddings = engine.embed(prepare_texts(engine.spec, embedding, pa.array(TEXTS))[0], embedding).embeddings
    assert embeddings is not None
    return embeddings


def post(server: str, body: object) -> tuple[int, dict[str, object]]:
    response = httpx2.post(f"{server}/v1/embeddings", json=body)
    return response.status_code, response.json()["error"]


def test_the_openai_client_gets_the_engines_embeddings(client: OpenAI, expected: Floats) -> None:
    reply = client.embeddings.create(model="minilm-qa", input=TEXTS, encoding_format="float")
    assert [(one.index, one.object) for one in reply.data] == [(0, "embedding"), (1, "embedding"), (2, "embedding")]
    np.testing.assert_allclose([one.embedding for one in reply.data], expected, atol=1e-5)
    assert (reply.object, reply.model) == ("list", SERVED)


def test_what_the_client_asks_for_by_itself_is_base64(client: OpenAI, server: str, expected: Floats) -> None:
    reply = client.embeddings.create(model=SERVED, input=TEXTS)
    np.testing.assert_allclose([one.embedding for one in reply.data], expected, atol=1e-5)
    body = {"model": SERVED, "input": TEXTS[:1], "encoding_format": "base64"}
    raw = httpx2.post(f"{server}/v1/embeddings", json=body).json()["data"][0]["embedding"]
    np.testing.assert_allclose(np.frombuffer(b64decode(raw), "<f4"), expected[0], atol=1e-5)


def test_usage_counts_the_tokens_that_the_model_saw(client: OpenAI, replica: Replica) -> None:
    tokenizer = replica.actor.engine.spec.tokenizer()
    usage = client.embeddings.create(model=SERVED, input=TEXTS[:2]).usage
    tokens = sum(len(tokenizer.encode(text)) for text in TEXTS[:2])
    assert (usage.prompt_tokens, usage.total_tokens) == (tokens, tokens)


def test_one_text_the_models_own_dimensions_and_a_user(client: OpenAI, expected: Floats) -> None:
    width = expected.shape[1]
    reply = client.embeddings.create(model=SERVED, input=TEXTS[0], dimensions=width, user="ada")
    np.testing.assert_allclose([one.embedding for one in reply.data], expected[:1], atol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 100])
def test_fewer_dimensions_are_the_first_ones_scaled(client: OpenAI, expected: Floats, dimensions: int) -> None:
    reply = client.embeddings.create(model=SERVED, input=TEXTS, dimensions=dimensions)
    first = expected[:, :dimensions]
    cut = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose([one.embedding for one in reply.data], cut, atol=1e-4)


@pytest.mark.parametrize("dimensions", [0, 385])
def test_dimensions_that_there_are_not_are_refused(client: OpenAI, dimensions: int) -> None:
    with pytest.raises(openai.BadRequestError, match=f"gives 1 to 384, not {dimensions}; ") as caught:
        client.embeddings.create(model=SERVED, input=TEXTS[0], dimensions=dimensions)
    assert (caught.value.param, caught.value.type, caught.value.code) == (
        "dimensions",
        "invalid_request_error",
        "invalid",
    )


@pytest.mark.parametrize("tokens", [[101, 102], [[101, 102], [101]]])
def test_token_arrays_are_refused(client: OpenAI, tokens: list[int]) -> None:
    with pytest.raises(openai.BadRequestError, match="token arrays are not taken; send texts") as caught:
        client.embeddings.create(model=SERVED, input=tokens)
    assert caught.value.param == "input"


def test_models_are_listed_and_found_by_both_names(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == (SERVED, "model", "spanmill")
    assert client.models.retrieve(SERVED).id == SERVED
    assert client.models.retrieve("models/minilm-qa").id == SERVED


def test_another_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'gpt' here; ask for 'minilm-qa'") as caught:
        client.embeddings.create(model="gpt", input=TEXTS[0])
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="'gpt' here"):
        client.models.retrieve("gpt")


def test_the_documents_example_runs(server: str, expected: Floats) -> None:
    content = httpx2.get(f"{server}/openapi.json").json()["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]
    (example,) = content["application/json"]["schema"]["examples"]
    reply = httpx2.post(f"{server}/v1/embeddings", json=example).json()
    np.testing.assert_allclose(reply["data"][0]["embedding"], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"model": SERVED, "input": "a", "tempreature": 1}, "tempreature"),
        ({"model": SERVED, "input": "a", "dimensions": "384"}, "dimensions"),
        ({"model": SERVED, "input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"model": SERVED, "input": ["a", 1]}, "input.1"),
        ({"model": SERVED, "input": {"text": "a"}}, "input"),
        ({"model": SERVED}, "input"),
        ({"input": "a"}, "model"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(server: str, body: object, named: str) -> None:
    status, error = post(server, body)
    assert (status, error["type"], error["param"]) == (422, "invalid_request_error", named)
    assert str(error["message"]).startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("texts", "status", "code"),
    [([], 422, "no_inputs"), (["a", " "], 422, "empty"), (["a"] * 257, 413, "too_many_inputs")],
)
def test_limits_are_refusals_too(server: str, texts: list[str], status: int, code: str) -> None:
    got, error = post(server, {"model": SERVED, "input": texts})
    assert (got, error["code"]) == (status, code)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "authentication_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (503, "server_error"),
    ],
)
def test_every_refusal_has_openais_shape(context: Context, status: int, kind: str) -> None:
    shaped = routes(context).error_body(Refusal(status, "why", "what and the mend"))
    assert shaped == {"error": {"message": "what and the mend", "type": kind, "param": None, "code": "why"}}
