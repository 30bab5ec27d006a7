"""The binary tensor extension, as Triton's client speaks it: the same answers as by JSON, and clear errors."""

import json
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.serving.gateway.protocols.oip.binary import joined
from actors.serving.types import Refused
from tests.actors.serving.helpers import LOVELACE, WHERE

URL = "/v2/models/minilm-qa/infer"
TEXTS = ["Der Leuchtturm steht seit 1837 \u00fc \U0001f469", LOVELACE]


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server) as client:
        yield client


def packed(texts: list[str]) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def tensor(name: str, texts: list[str]) -> dict[str, Any]:
    size = len(packed(texts))
    return {"name": name, "shape": [len(texts)], "datatype": "BYTES", "parameters": {"binary_data_size": size}}


def post(client: httpx2.Client, content: Any, tensors: bytes, length: str | None = None) -> httpx2.Response:
    head = json.dumps(content).encode()
    headers = {"Inference-Header-Content-Length": length or str(len(head)), "Content-Type": "application/octet-stream"}
    return client.post(URL, content=head + tensors, headers=headers)


def outputs(response: httpx2.Response) -> dict[str, Any]:
    """Every output by its name, read as Triton's client reads them."""
    assert response.status_code == 200, response.text
    length = int(response.headers["Inference-Header-Content-Length"])
    content, rest, found = json.loads(response.content[:length]), response.content[length:], {}
    for output in content["outputs"]:
        if "data" in output:
            found[output["name"]] = output["data"]
            continue
        size = output["parameters"]["binary_data_size"]
        part, rest = rest[:size], rest[size:]
        if output["datatype"] == "BYTES":
            values = []
            while part:
                (n,) = struct.unpack("<I", part[:4])
                values.append(part[4 : 4 + n].decode())
                part = part[4 + n :]
            found[output["name"]] = values
        else:
            dtype = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}[output["datatype"]]
            found[output["name"]] = np.frombuffer(part, dtype).reshape(output["shape"])
    assert not rest
    return found


def asked(**more: Any) -> dict[str, Any]:
    return {"inputs": [tensor("question", [WHERE, WHERE]), tensor("context", TEXTS)]} | more


QUESTIONS_AND_CONTEXTS = packed([WHERE, WHERE]) + packed(TEXTS)


def test_with_the_defaults_of_tritons_client_the_answers_are_those_by_json(client: httpx2.Client) -> None:
    data = {"question": [WHERE, WHERE], "context": TEXTS}
    body = {"inputs": [{"name": n, "shape": [2], "datatype": "BYTES", "data": d} for n, d in data.items()]}
    expected = {output["name"]: output["data"] for output in client.post(URL, json=body).json()["outputs"]}
    got = outputs(post(client, asked(parameters={"binary_data_output": True}), QUESTIONS_AND_CONTEXTS))
    assert got["answer"] == expected["answer"]
    assert got["answer"][1] == "London"
    for name in ("start", "end", "score", "null_score"):
        np.testing.assert_allclose(got[name], expected[name], atol=1e-4)


def test_every_output_comes_as_it_was_asked_for(client: httpx2.Client) -> None:
    wanted = [
        {"name": "answer", "parameters": {"binary_data": True}},
        {"name": "start", "parameters": {"binary_data": False}},
        {"name": "end"},
    ]
    response = post(client, asked(outputs=wanted), QUESTIONS_AND_CONTEXTS)
    assert isinstance(outputs(response)["start"], list)
    assert set(outputs(response)) == {"answer", "start", "end"}
    by_default = post(client, asked(outputs=wanted, parameters={"binary_data_output": True}), QUESTIONS_AND_CONTEXTS)
    assert isinstance(outputs(by_default)["end"], np.ndarray)


def test_embeddings_are_float32_in_binary(client: httpx2.Client) -> None:
    body = {"inputs": [tensor("text", TEXTS)], "parameters": {"binary_data_output": True}}
    embedding = outputs(post(client, body, packed(TEXTS)))["embedding"]
    assert (embedding.dtype, embedding.shape) == (np.float32, (2, 384))


@pytest.mark.parametrize(
    ("content", "tensors", "length", "message"),
    [
        (asked(), QUESTIONS_AND_CONTEXTS, "99999", "Inference-Header-Content-Length: '99999' is no number of bytes"),
        (asked(), QUESTIONS_AND_CONTEXTS, "-1", "Inference-Header-Content-Length: '-1' is no number"),
        (asked(), QUESTIONS_AND_CONTEXTS[:-1], None, "inputs.1.parameters.binary_data_size: "),
        (asked(), QUESTIONS_AND_CONTEXTS + b"!", None, "inputs: 1 bytes behind the JSON belong to no tensor"),
        ({"inputs": [tensor("text", ["abc"])]}, b"\xff\0\0\0abc", None, "inputs.0: the element at byte 0 ends behind"),
        (
            {"inputs": [tensor("text", ["abc"])]},
            b"\3\0\0\0\xff\xff\xff",
            None,
            "inputs.0: the element at byte 0 is not",
        ),
        ({"inputs": 7}, b"", None, "inputs: input should be a valid list"),
        ([], b"", None, "the body: input should be an object"),
    ],
)
def test_what_is_wrong_with_the_bytes_is_named(
    client: httpx2.Client, content: Any, tensors: bytes, length: str | None, message: str
) -> None:
    response = post(client, content, tensors, length)
    assert response.status_code == 422
    assert response.json()["error"].startswith(message)


def test_json_that_is_none_is_named(client: httpx2.Client) -> None:
    response = client.post(URL, content=b"{no}", headers={"Inference-Header-Content-Length": "4"})
    assert (response.status_code, response.json()["error"][:20]) == (400, "the body is not JSON")


def test_more_elements_than_are_allowed_are_not_looked_at(client: httpx2.Client) -> None:
    """As many empty strings as fit into a body: the gateway serves nobody else while it counts them."""
    zeros = bytes(16 << 20)[:-4096]
    content = {"inputs": [tensor("text", [""]) | {"parameters": {"binary_data_size": len(zeros)}}]}
    began = time.process_time()
    with pytest.raises(Refused) as caught:
        joined(content, zeros, 256)
    assert time.process_time() - began < 0.5
    assert caught.value.refusal.message == "inputs.0 has more than 256 elements; send them in parts"
    response = post(client, {"inputs": [tensor("text", ["a"] * 257)]}, packed(["a"] * 257))
    assert (response.status_code, response.json()["error"][:30]) == (413, "inputs.0 has more than 256 ele")


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_strings_come_back_as_they_were(texts: list[str]) -> None:
    assert joined({"inputs": [tensor("text", texts)]}, packed(texts), len(texts))["inputs"][0]["data"] == texts


@given(
    content=st.recursive(
        st.none() | st.integers() | st.text(),
        lambda c: (
            st.lists(c) | st.fixed_dictionaries({}, optional={"inputs": c, "parameters": c, "binary_data_size": c})
        ),
    ),
    tensors=st.binary(),
)
def test_whatever_comes_is_joined_or_refused(content: Any, tensors: bytes) -> None:
    with suppress(Refused):
        joined(content, tensors, 10)
