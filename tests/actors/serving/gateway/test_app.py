"""All protocols together."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from actors.serving.parameters import CorsParameters, LimitParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal, Refused
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, Failing

ORIGIN = "https://example.org"
ASKING: dict[str, Any] = {
    "/answer": {"context": LOVELACE, "questions": [WHERE]},
    "/": {"inputs": LOVELACE},
    "/v1/embeddings": {"model": "minilm-qa", "input": LOVELACE},
    "/embed": {"inputs": LOVELACE},
}


def _operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _bodies(document: Any, operation: Any) -> list[Any]:
    content = operation["requestBody"]["content"]["application/json"]
    if "examples" in content:
        return [example["value"] for example in content["examples"].values()]
    schema = content["schema"]
    if "examples" not in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return list(schema["examples"])


def test_every_example_of_the_documentation_runs(server: str) -> None:
    document = httpx2.get(f"{server}/openapi.json").json()
    run = 0
    for method, path, operation in _operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", parameter["schema"]["examples"][0])
        for body in _bodies(document, operation) if "requestBody" in operation else [None]:
            reply = httpx2.request(method, f"{server}{path}", json=body)
            assert reply.status_code == 200, (method, path, body, reply.text)
            run += 1
    assert run > 20


def test_every_protocol_is_documented_with_its_refusals(server: str) -> None:
    document = httpx2.get(f"{server}/openapi.json").json()
    tags = {tag for _, _, operation in _operations(document) for tag in operation["tags"]}
    assert {"Hugging Face", "Spanmill", "Service"} < tags
    for method, path, operation in _operations(document):
        assert {"200", "401", "413", "422", "429", "503"} <= set(operation["responses"]), (method, path)
        assert operation["description"], (method, path)
    assert httpx2.get(f"{server}/docs").status_code == 200


def test_unknown_paths_and_methods_are_told_in_the_form_of_their_protocol(server: str) -> None:
    reply = httpx2.get(f"{server}/nowhere")
    said = {"error": "there is no such path; /docs lists them", "reason": "unknown_path"}
    assert (reply.status_code, reply.json()) == (404, said)
    reply = httpx2.get(f"{server}/answer")
    assert (reply.status_code, reply.json()["reason"]) == (405, "wrong_method")
    assert "this path takes POST" in reply.json()["error"]
    reply = httpx2.get(f"{server}/v1/embeddings")
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "wrong_method")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("named", "told"), [(None, "3"), (7, "7")])
def test_who_should_come_again_is_told_when(
    serve: Serve, replica: Replica, status: int, named: int | None, told: str
) -> None:
    refusal = Refusal(status, "queue_full", "there is no room; try again later", retry_after=named)
    url = serve(client=Failing(replica, Refused(refusal)), limits=LimitParameters(retry_after_seconds=3))
    for path, body in ASKING.items():
        reply = httpx2.post(f"{url}{path}", json=body)
        assert (reply.status_code, reply.headers["Retry-After"]) == (status, told), path
        assert "there is no room" in reply.text


def test_other_refusals_name_no_time(serve: Serve, replica: Replica) -> None:
    url = serve(client=Failing(replica, Refused(Refusal(504, "deadline", "too late"))))
    reply = httpx2.post(f"{url}/answer", json=ASKING["/answer"])
    assert (reply.status_code, reply.json()) == (504, {"error": "too late", "reason": "deadline"})
    assert "Retry-After" not in reply.headers


def test_web_pages_may_ask_where_their_origin_is_named(server: str, serve: Serve) -> None:
    open_to_one = serve(cors=CorsParameters(origins=(ORIGIN,)))
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    for url, allowed in ((open_to_one, ORIGIN), (server, None)):
        asked = httpx2.request("OPTIONS", f"{url}/answer", headers=preflight)
        assert (asked.status_code == 200) is (allowed is not None)
        for path in ("/answer", "/nowhere"):
            reply = httpx2.post(f"{url}{path}", json=ASKING["/answer"], headers={"Origin": ORIGIN})
            assert reply.headers.get("Access-Control-Allow-Origin") == allowed
    stranger = httpx2.post(f"{open_to_one}/answer", json=ASKING["/answer"], headers={"Origin": "https://evil.org"})
    assert "Access-Control-Allow-Origin" not in stranger.headers
    reply = httpx2.post(f"{open_to_one}/answer", json=ASKING["/answer"], headers={"Origin": ORIGIN})
    assert {"X-Request-Id", "X-Queue-Ms"} <= set(reply.headers["Access-Control-Expose-Headers"].split(", "))
