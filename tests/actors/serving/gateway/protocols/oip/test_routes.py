"""The Open Inference Protocol: health, metadata, and tensors of texts."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pytest

from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.gateway.context import Context
from actors.serving.gateway.protocols.oip import tensors
from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal, Refused
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, NAME, WHERE, Failing

MODEL = "/v2/models/minilm-qa"
CONTEXTS = [LOVELACE, "Der Leuchtturm steht seit 1837 auf der Insel 👩 Brindle."]
QUESTIONS = [WHERE, "Seit wann steht der Leuchtturm?"]
OUTPUTS = ["answer", "score", "start", "end", "null_score"]


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server) as client:
        yield client


def tensor(name: str, data: list[Any], shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": "BYTES", "data": data} | more


def asked(**more: Any) -> dict[str, Any]:
    return {"inputs": [tensor("question", QUESTIONS), tensor("context", CONTEXTS)]} | more


def infer(client: httpx2.Client, body: dict[str, Any], model: str = MODEL) -> Any:
    response = client.post(f"{model}/infer", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def columns(reply: Any) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in reply["outputs"]}


def refusal(client: httpx2.Client, body: dict[str, Any], model: str = MODEL) -> tuple[int, str]:
    response = client.post(f"{model}/infer", json=body)
    assert set(response.json()) == {"error"}
    return response.status_code, response.json()["error"]


def best(replica: Replica, qa: QAParameters) -> dict[str, list[Any]]:
    engine = replica.actor.engine
    answers = engine.answer(prepare_pairs(engine.spec, qa, pa.array(QUESTIONS), pa.array(CONTEXTS))[0], qa).answers
    assert answers is not None
    return {
        "answer": answers.text.to_pylist(),
        "score": answers.score.tolist(),
        "start": answers.start.tolist(),
        "end": answers.end.tolist(),
        "null_score": answers.null_score.tolist(),
    }


def test_answers_are_the_engines_in_columns(client: httpx2.Client, replica: Replica) -> None:
    reply = infer(client, asked(id="42"))
    assert (reply["model_name"], reply["id"]) == (NAME, "42")
    datatypes = ["BYTES", "FP64", "INT64", "INT64", "FP64"]
    assert [(o["name"], o["datatype"]) for o in reply["outputs"]] == list(zip(OUTPUTS, datatypes, strict=True))
    assert all(output["shape"] == [2] for output in reply["outputs"])
    got, expected = columns(reply), best(replica, QAParameters())
    assert got["answer"][0] == "London"
    for name in ("answer", "start", "end"):
        assert got[name] == expected[name]
    for name in ("score", "null_score"):
        assert got[name] == pytest.approx(expected[name], abs=1e-4)
    spans = zip(CONTEXTS, got["answer"], got["start"], got["end"], strict=True)
    assert all(context[start:end] == answer for context, answer, start, end in spans)


def test_shapes_with_a_dimension_of_one_are_columns_too(client: httpx2.Client) -> None:
    nested = [[question] for question in QUESTIONS]
    body = {"inputs": [tensor("question", nested, [2, 1]), tensor("context", CONTEXTS, [2, 1])]}
    assert columns(infer(client, body))["answer"] == columns(infer(client, asked()))["answer"]


def test_only_the_outputs_that_are_wanted_come_back(client: httpx2.Client) -> None:
    reply = infer(client, asked(outputs=[{"name": "end"}, {"name": "answer", "parameters": {"binary_data": False}}]))
    assert list(columns(reply)) == ["answer", "end"]
    assert "id" not in reply
    assert list(columns(infer(client, asked(outputs=None)))) == OUTPUTS


def test_parameters_reach_the_engine(client: httpx2.Client, replica: Replica) -> None:
    parameters = {"max_answer_len": 1, "align_to_words": False, "max_seq_len": 40, "doc_stride": 8, "top_k": 1}
    expected = best(replica, QAParameters.model_validate(parameters))
    assert columns(infer(client, asked(parameters=parameters)))["answer"] == expected["answer"]


def test_abstaining_is_an_empty_answer_at_minus_one(client: httpx2.Client) -> None:
    pair = [tensor("question", ["What is the boiling point of lead?"]), tensor("context", [LOVELACE[:40]])]
    got = columns(infer(client, {"inputs": pair, "parameters": {"handle_impossible_answer": True}}))
    assert (got["answer"], got["start"], got["end"]) == ([""], [-1], [-1])
    assert got["score"] == pytest.approx(got["null_score"])


@pytest.mark.parametrize("normalize", [None, False])
def test_embeddings_are_the_engines_in_a_matrix(
    client: httpx2.Client, replica: Replica, normalize: bool | None
) -> None:
    reply = infer(client, {"inputs": [tensor("text", CONTEXTS)], "parameters": {"normalize": normalize}})
    (output,) = reply["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("embedding", "FP32", [2, 384])
    engine, embedding = replica.actor.engine, EmbeddingParameters(normalize=normalize is None)
    expected = engine.embed(prepare_texts(engine.spec, embedding, pa.array(CONTEXTS))[0], embedding).embeddings
    assert expected is not None
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), expected, atol=1e-5)


def test_health_and_metadata(client: httpx2.Client, replica: Replica) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json() == {
        "name": "spanmill",
        "version": version("spanmill"),
        "extensions": ["binary_tensor_data"],
    }
    for name in ("models/minilm-qa", NAME):
        assert client.get(f"/v2/models/{name}/ready").json() == {"name": NAME, "ready": True}
        metadata = client.get(f"/v2/models/{name}").json()
        assert metadata["name"] == NAME
        assert [one["name"] for one in metadata["inputs"]] == ["question", "context", "text"]
        assert [one["name"] for one in metadata["outputs"]] == [*OUTPUTS, "embedding"]
        assert metadata["outputs"][-1] == {"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}
        assert metadata["properties"]["fingerprint"] == replica.card.fingerprint


def test_a_model_without_a_qa_head_takes_texts_alone(replica: Replica) -> None:
    metadata: Any = tensors.metadata(replace(replica.card, answers=False), NAME)
    assert [one["name"] for one in metadata["inputs"]] == ["text"]
    assert [one["name"] for one in metadata["outputs"]] == ["embedding"]


def test_models_that_are_not_served(client: httpx2.Client) -> None:
    for path in ("/v2/models/other", "/v2/models/other/ready", f"{MODEL}/versions/1"):
        response = client.get(path)
        assert response.status_code == 404
        assert response.json()["error"].endswith(f"here; ask for '{NAME}'")
    assert refusal(client, asked(), "/v2/models/other")[0] == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": []}, "inputs: send question and context"),
        ({"inputs": [tensor("question", QUESTIONS)]}, "inputs: send question and context"),
        ({"inputs": [*asked()["inputs"], tensor("text", CONTEXTS)]}, "inputs: send question and context"),
        ({"inputs": [tensor("text", ["a"]), tensor("text", ["b"])]}, "inputs.1.name: text is there twice"),
        ({"inputs": [tensor("question", ["a"]), tensor("context", CONTEXTS)]}, "inputs: question and context have 1"),
        ({"inputs": [tensor("text", ["a"], [2])]}, "inputs.0.shape: [2] is not that of 1 strings; send [1] or [1, 1]"),
        ({"inputs": [tensor("text", [["a", "b"]], [1, 2])]}, "inputs.0.shape: [1, 2] is not that of 2 strings"),
        ({"inputs": [tensor("text", [1])]}, "inputs.0.data.0: input should be a valid string"),
        ({"inputs": [tensor("txt", ["a"])]}, "inputs.0.name: input should be 'question', 'context' or 'text'"),
        ({"inputs": [tensor("text", ["a"]) | {"datatype": "FP32"}]}, "inputs.0.datatype: input should be 'BYTES'"),
        ({"inputs": [tensor("text", ["a"], parameters={"gzip": 1})]}, "inputs.0.parameters.gzip: there is no such"),
        ({"inputs": [tensor("text", ["a"])], "outputs": [{"name": "answer"}]}, "outputs.0.name: these inputs give emb"),
        ({"inputs": [tensor("text", ["a"])], "parameters": {"doc_stride": 1}}, "parameters.doc_stride: a request that"),
        (asked(outputs=[{"name": "score"}, {"name": "embedding"}]), "outputs.1.name: these inputs give answer, score"),
        (asked(outputs=[{"name": "score", "parameters": {"binary_data": 1}}]), "outputs.0.parameters.binary_data: "),
        (
            {"inputs": [tensor("text", ["a"], parameters={"binary_data_size": 5})]},
            "inputs.0.parameters.binary_data_size",
        ),
        (asked(parameters={"normalize": True}), "parameters.normalize: a request that answers has no such parameter"),
        (asked(parameters={"top_k": 2}), "parameters.top_k: tensors hold the best answer alone"),
        (asked(parameters={"max_answer_len": 0}), "max_answer_len: input should be greater than or equal to 1"),
        (asked(parameters={"temperature": 1}), "parameters.temperature: there is no such field here"),
        (asked(id=7), "id: input should be a valid string"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(client: httpx2.Client, body: dict[str, Any], message: str) -> None:
    status, error = refusal(client, body)
    assert status == 422
    assert error.startswith(message)


def test_a_body_without_a_content_type_is_json_as_tritons_client_sends_it(client: httpx2.Client) -> None:
    response = client.post(f"{MODEL}/infer", content=json.dumps(asked(parameters={"binary_data_output": False})))
    assert "content-type" not in response.request.headers
    assert columns(response.json())["answer"][0] == "London"


def test_an_id_that_is_not_text_is_no_server_error(client: httpx2.Client) -> None:
    body = '{"id": "\\ud800", "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}'
    response = client.post(f"{MODEL}/infer", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"][:4]) == (422, "id: ")


def test_limits_hold(client: httpx2.Client) -> None:
    assert refusal(client, {"inputs": [tensor("text", ["a"] * 257)]})[0] == 413
    assert refusal(client, {"inputs": [tensor("text", ["a", " "])]})[0] == 422


class _NotReady(Failing):
    async def ready(self) -> None:
        raise self.error


def test_a_service_that_is_not_ready_says_so(serve: Serve, replica: Replica) -> None:
    error = Refused(Refusal(503, "not_ready", "no model actor is ready; try again later"))
    with httpx2.Client(base_url=serve(client=_NotReady(replica, error))) as client:
        for path in ("/v2/health/ready", f"{MODEL}/ready"):
            response = client.get(path)
            assert (response.status_code, response.json()) == (503, {"error": error.refusal.message})
        assert client.get("/v2/health/live").status_code == 200


def test_the_documents_example_runs(client: httpx2.Client, context: Context) -> None:
    (example,) = client.get("/openapi.json").json()["components"]["schemas"]["Inference"]["examples"]
    assert columns(infer(client, example))["answer"] == ["London"]
