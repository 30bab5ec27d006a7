"""Bodies of more values than a request can need are refused before they are decoded."""

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.gateway.protocols.bodies.json_body import decoded, most_values
from actors.serving.key_parameters import KeyParameters
from actors.serving.parameters import CorsParameters
from actors.serving.types import Refused

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a",[{\\\u00e9\U0001f469'),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(alphabet='b",[{\\'), inside),
)


def _values(content: Any) -> int:
    """Values that stand behind a comma or a bracket."""
    if isinstance(content, dict | list):
        inside = content.values() if isinstance(content, dict) else content
        return max(len(content), 1) + sum(map(_values, inside))
    return 0


@given(content=JSONS, ascii_only=st.booleans(), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_values_are_counted_wherever_strings_hold_commas_quotes_and_brackets(
    content: Any, ascii_only: bool, encoding: str
) -> None:
    body, values = json.dumps(content, ensure_ascii=ascii_only).encode(encoding), _values(content)
    assert decoded(body, values) == content
    if values:
        with pytest.raises(Refused) as caught:
            decoded(body, values - 1)
        assert (caught.value.refusal.status, caught.value.refusal.reason) == (413, "too_many_inputs")


@pytest.mark.parametrize("value", ["1", '""', "[]", "{}", '["a"]', '{"a":1}', "[" * 300 + "]" * 300])
def test_what_is_refused_is_not_decoded(value: str) -> None:
    """The bodies are broken at their ends, which only whoever decodes them finds out."""
    with pytest.raises(Refused):
        decoded(f"[{','.join([value] * 1001)}".encode(), 1000)
    with pytest.raises(json.JSONDecodeError):
        decoded(f"[{','.join([value] * 1001)}".encode(), 1001 * (600 + 1))


@pytest.mark.parametrize("text", ['"', '["a,', '["a\\",', '"\\', ","])
def test_strings_without_an_end_are_no_json(text: str) -> None:
    with pytest.raises((json.JSONDecodeError, Refused)):
        decoded(f"[,,{text}".encode(), 2)
    with pytest.raises(json.JSONDecodeError):
        decoded(text.encode() + b"," * 10, 20)


def test_every_route_that_takes_json_bounds_it(server: str, context: Context) -> None:
    body = b"[" + b"0," * most_values(context.limits.max_inputs) + b"!"
    headers = {"Content-Type": "application/json"}
    paths = build_app(context, KeyParameters(none=True), CorsParameters()).openapi()["paths"]
    posts = [path.replace("{model}", "minilm-qa") for path, operations in paths.items() if "post" in operations]
    assert len(posts) > 8
    with httpx2.Client(base_url=server, headers=headers) as client:
        for path in posts:
            reply = client.post(path, content=body)
            assert (reply.status_code, "values; send its inputs in parts" in reply.text) == (413, True), path
        tensors = client.post(
            "/v2/models/minilm-qa/infer", content=body, headers={"Inference-Header-Content-Length": str(len(body))}
        )
        assert tensors.status_code == 413


def test_prose_may_have_as_many_commas_as_fit() -> None:
    body = {"context": "[,{" * 100_000, "questions": ["Where was she born?"]}
    assert decoded(json.dumps(body).encode(), most_values(256)) == body
