"""A gateway in front of two models: which of them answers, by path and by name."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from openai import NotFoundError, OpenAI

from actors.model_actor import ModelActor
from actors.parameters import BatchingParameters, ModelParameters, SharingParameters
from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.key_parameters import KeyParameters, TenantParameters
from actors.serving.model_card import describe
from actors.serving.parameters import CorsParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal, Refused, Reply, Request
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, NAME, WHERE, Failing, InProcess, serving
from tests.waiting import until

OTHER = "texts/plain"
"""The untrained model, served without its QA head."""
BELOW = f"/models/{OTHER}"
EMBED = {"inputs": [LOVELACE]}
ANSWER = {"context": LOVELACE, "question": WHERE}


@pytest.fixture(scope="module")
def other(context: Context, untrained_model: Path) -> Context:
    model = ModelParameters(name=str(untrained_model), device="cpu", threads=1)
    actor = ModelActor(model, BatchingParameters(), with_qa_head=False, sharing=SharingParameters())
    card = replace(describe(untrained_model, model), name=OTHER, answers=False)
    return replace(context, client=InProcess(Replica(actor, card)), model=OTHER)


@pytest.fixture(scope="module")
def both(context: Context, other: Context) -> Iterator[str]:
    """The URL of a service of both models, without keys."""
    app = build_app(replace(context, others=(other,)), KeyParameters(none=True), CorsParameters())
    with serving(app) as url:
        yield url


def _get(url: str, **headers: str) -> tuple[int, Any]:
    reply = httpx2.get(url, headers=headers)
    return reply.status_code, reply.json()


def _post(url: str, body: object) -> tuple[int, Any]:
    reply = httpx2.post(url, json=body)
    return reply.status_code, reply.json()


def _without_times(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "timing_ms"}


def test_the_first_model_answers_where_none_is_named_and_below_its_name(both: str, server: str) -> None:
    status, expected = _post(f"{server}/answer", ANSWER)
    assert status == 200
    for path in ("", f"/models/{NAME}", f"/models/models/{NAME}"):
        status, found = _post(f"{both}{path}/answer", ANSWER)
        assert (status, _without_times(found)) == (200, _without_times(expected)), path


def test_every_route_below_a_name_is_that_of_its_model(both: str, other: Context) -> None:
    width = other.client.replica.card.hidden_size  # type: ignore[attr-defined]
    [vector] = _post(f"{both}{BELOW}/embed", EMBED)[1]
    assert len(vector) == width != len(_post(f"{both}/embed", EMBED)[1][0])
    document = httpx2.get(f"{both}{BELOW}/openapi.json").json()
    assert document["servers"] == [{"url": BELOW}]
    assert document["paths"].keys() == httpx2.get(f"{both}/openapi.json").json()["paths"].keys()
    for path, body in {
        "": EMBED,
        "/": EMBED,
        "/pipeline/feature-extraction": EMBED,
        "/invocations": EMBED,
    }.items():
        assert np.allclose(_post(f"{both}{BELOW}{path}", body)[1], [vector], atol=1e-6), path
    assert len(_post(f"{both}{BELOW}/embed_all", EMBED)[1][0][0]) == width
    assert _post(f"{both}{BELOW}/encode", EMBED)[1]["model"] == OTHER
    assert _get(f"{both}{BELOW}/model")[1]["name"] == OTHER
    assert _get(f"{both}{BELOW}/info")[1]["served_model_name"] == OTHER
    assert _get(f"{both}{BELOW}/v2/models/{OTHER}/ready") == (200, {"name": OTHER, "ready": True})
    assert _get(f"{both}{BELOW}/ready") == (200, {"status": "ready", "model": OTHER})
    assert _post(f"{both}{BELOW}/tokenize", EMBED)[1] != _post(f"{both}/tokenize", EMBED)[1]


def test_clients_choose_by_their_base_url(both: str) -> None:
    found: Any = InferenceClient(base_url=f"{both}/models/{NAME}").question_answering(question=WHERE, context=LOVELACE)
    assert found.answer == "London"
    vectors = InferenceClient(base_url=f"{both}{BELOW}").feature_extraction([LOVELACE])
    with OpenAI(base_url=f"{both}{BELOW}/v1", api_key="x", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [OTHER]
        embedded = client.embeddings.create(model=OTHER, input=[LOVELACE])
        assert np.allclose(vectors[0], embedded.data[0].embedding, atol=1e-6)
        with pytest.raises(NotFoundError, match=f"there is no model '{NAME}' here; ask for '{OTHER}'"):
            client.embeddings.create(model=NAME, input=[LOVELACE])


def test_clients_choose_by_name(both: str) -> None:
    with OpenAI(base_url=f"{both}/v1", api_key="x", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [NAME, OTHER]
        assert client.models.retrieve(OTHER).id == OTHER
        widths = {}
        for name in (NAME, OTHER, "plain"):
            reply = client.embeddings.create(model=name, input=[LOVELACE])
            widths[name] = (reply.model, len(reply.data[0].embedding))
        assert widths["plain"] == widths[OTHER] == (OTHER, widths[OTHER][1])
        assert widths[NAME][0] == NAME
        assert widths[NAME][1] != widths[OTHER][1]
    text = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [LOVELACE]}]}
    for name, (_, width) in widths.items():
        reply = _post(f"{both}/v2/models/{name}/infer", text)[1]
        assert (reply["model_name"], reply["outputs"][0]["shape"]) == (widths[name][0], [1, width])
    assert _get(f"{both}/v2/models/{OTHER}")[1]["name"] == OTHER
    listed = _post(f"{both}/v2/repository/index", {})[1]
    assert listed == [{"name": NAME, "state": "READY"}, {"name": OTHER, "state": "READY"}]


def test_a_model_without_a_qa_head_answers_no_questions_and_is_named(both: str) -> None:
    pair = {"question": WHERE, "context": LOVELACE}
    for path, body in (("/answer", ANSWER), ("", {"inputs": pair}), ("/pipeline/question-answering", {"inputs": pair})):
        status, refused = _post(f"{both}{BELOW}{path}", body)
        assert (status, refused["reason"]) == (422, "no_answers"), path
        assert OTHER in refused["error"]


@pytest.mark.parametrize(
    "path", ["/models/nobody", "/models/nobody/answer", "/models/nobody/pipeline/question-answering"]
)
def test_an_unknown_name_is_told_which_there_are(both: str, path: str) -> None:
    status, refused = _post(f"{both}{path}", {"inputs": {"question": WHERE, "context": LOVELACE}})
    assert (status, refused["reason"]) == (404, "model_not_found")
    assert f"ask for '{NAME}' or '{OTHER}'" in refused["error"]


def test_unknown_names_are_refused_by_whatever_reads_of_a_model(both: str) -> None:
    for path in ("/models/nobody/ready", "/v2/models/nobody", "/v2/models/nobody/ready", "/v1/models/nobody"):
        reply = httpx2.get(f"{both}{path}")
        assert (reply.status_code, f"'{NAME}' or '{OTHER}'" in reply.text) == (404, True), path
    assert _get(f"{both}/models/{NAME}")[1]["reason"] == "wrong_method"
    assert _get(f"{both}{BELOW}/nowhere")[1]["reason"] == "unknown_path"
    assert _get(f"{both}{BELOW}/v1/embeddings")[1]["error"]["code"] == "wrong_method"


def test_the_service_is_ready_when_every_model_is(context: Context, other: Context, serve: Serve) -> None:
    gone = Failing(other.client.replica, Refused(Refusal(503, "not_ready", "no model actor is ready", 1)))  # type: ignore[attr-defined]
    url = serve(others=(replace(other, client=gone),))
    for path in ("/ready", "/health", "/ping", "/v2/health/ready"):
        reply = httpx2.get(f"{url}{path}")
        assert (reply.status_code, f"model {OTHER}: no model actor is ready" in reply.text) == (503, True), path
    assert _get(f"{url}/models/{NAME}/ready") == (200, {"status": "ready", "model": NAME})
    assert _get(f"{url}/v2/models/{NAME}/ready")[0] == 200
    assert httpx2.get(f"{url}{BELOW}/ready").status_code == 503
    assert httpx2.get(f"{url}/v2/models/{OTHER}/ready").status_code == 503
    assert _post(f"{url}/answer", ANSWER)[0] == 200
    states = {one["name"]: one["state"] for one in _post(f"{url}/v2/repository/index", {})[1]}
    assert states == {NAME: "READY", OTHER: "UNAVAILABLE"}


def test_both_are_ready_together(both: str) -> None:
    assert _get(f"{both}/ready") == (200, {"status": "ready", "model": f"{NAME}, {OTHER}"})


def test_probes_and_pages_need_no_key_below_a_name_and_requests_do(
    other: Context, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEYS", "first")
    url = serve(keys=KeyParameters(variable="THE_KEYS"), others=(other,))
    for path in ("/ready", "/live", "/health", "/ping", "/docs", "/openapi.json", "/page/main.js"):
        assert httpx2.get(f"{url}{BELOW}{path}").status_code == 200, path
    page = httpx2.get(f"{url}{BELOW}/", headers={"Accept": "text/html"})
    assert (page.status_code, "<title>Spanmill" in page.text) == (200, True)
    for path in ("/embed", "/v1/embeddings", ""):
        assert httpx2.post(f"{url}{BELOW}{path}", json=EMBED).status_code == 401, path
    for path in ("/model", "/metrics", "/v1/models"):
        assert httpx2.get(f"{url}{BELOW}{path}").status_code == 401, path
    assert httpx2.get(f"{url}{BELOW}/model", headers={"Authorization": "Bearer first"}).json()["name"] == OTHER


def test_the_log_and_the_metrics_name_the_model(
    context: Context, other: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spanmill.requests")
    seen: list[tuple[str | None, int, str | None]] = []
    app = build_app(
        replace(context, others=(other,)),
        KeyParameters(none=True),
        CorsParameters(),
        observer=lambda path, status, _seconds, _tenant, model: seen.append((path, status, model)),
    )
    with serving(app) as url:
        httpx2.post(f"{url}/embed", json=EMBED)
        httpx2.post(f"{url}{BELOW}/embed", json=EMBED)
        httpx2.post(f"{url}{BELOW}/embed", json={})
        httpx2.post(f"{url}/v1/embeddings", json={"model": OTHER, "input": LOVELACE})
        httpx2.get(f"{url}/live")
        until(lambda: len(seen) == 5)
    assert seen == [
        ("/embed", 200, NAME),
        ("/embed", 200, OTHER),
        ("/embed", 422, OTHER),
        ("/v1/embeddings", 200, OTHER),
        ("/live", 200, None),
    ]
    lines = [json.loads(one.getMessage()) for one in caplog.records if one.name == "spanmill.requests"]
    assert [line.get("model") for line in lines if line["route"].endswith("/embed")] == [NAME, OTHER, OTHER]


class _Held(InProcess):
    """Answers nothing before it may."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.came, self.may_answer = threading.Event(), threading.Event()

    async def ask(self, request: Request) -> Reply:
        self.came.set()
        await asyncio.to_thread(self.may_answer.wait)
        return await super().ask(request)


def test_a_key_has_its_limits_once_whichever_model_it_asks(
    other: Context, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEYS", "first")
    held = _Held(other.client.replica)  # type: ignore[attr-defined]
    tenants = {"search": TenantParameters(variable="THE_KEYS", requests_in_hand=1)}
    url = serve(keys=KeyParameters(none=True), tenants=tenants, others=(replace(other, client=held),))
    key = {"Authorization": "Bearer first"}
    with ThreadPoolExecutor(1) as threads:
        try:
            first = threads.submit(httpx2.post, f"{url}{BELOW}/embed", json=EMBED, headers=key)
            assert held.came.wait(60)
            refused = httpx2.post(f"{url}/models/{NAME}/embed", json=EMBED, headers=key)
            assert httpx2.post(f"{url}/models/{NAME}/embed", json=EMBED).status_code == 200, "another key"
        finally:
            held.may_answer.set()
        assert first.result().status_code == 200
    assert (refused.status_code, "this key has 1 requests in hand" in refused.text) == (429, True)
    assert httpx2.post(f"{url}/models/{NAME}/embed", json=EMBED, headers=key).status_code == 200


def test_a_fault_below_a_name_is_told_as_everywhere(other: Context, serve: Serve) -> None:
    broken = Failing(other.client.replica, RuntimeError("broken"))  # type: ignore[attr-defined]
    url = serve(others=(replace(other, client=broken),))
    reply = httpx2.post(f"{url}{BELOW}/embed", json=EMBED)
    assert (reply.status_code, reply.json()["error_type"]) == (500, "Backend")
    reply = httpx2.post(f"{url}{BELOW}/answer", json=ANSWER)
    assert (reply.status_code, reply.json()["reason"]) == (500, "internal")


def test_a_service_of_one_model_has_no_paths_below_its_name(server: str) -> None:
    status, refused = _post(f"{server}/models/{NAME}/answer", ANSWER)
    assert (status, refused["error"]) == (404, f"there is no model '{NAME}/answer' here; ask for '{NAME}'")
    assert _post(f"{server}/v2/repository/index", {})[1]["reason"] == "unknown_path"
