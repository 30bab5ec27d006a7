"""Who may ask."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.gateway.middleware.auth import KeysError, NoKeysError, read_keys, read_tenant_keys
from actors.serving.key_parameters import KeyParameters, TenantParameters
from actors.serving.parameters import CorsParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Reply, Request
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, InProcess, serving
from tests.waiting import until

KEYS = ("first-key", "schlüssel")
BODY = {"context": LOVELACE, "questions": [WHERE]}


@pytest.fixture(scope="module")
def closed(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that wants one of `KEYS`."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("# who: the tests\n" + "\n".join(KEYS) + "\n\n", encoding="utf-8")
    cors = CorsParameters(origins=("https://example.org",))
    with serving(build_app(context, KeyParameters(file=str(file)), cors)) as url:
        yield url


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_every_key_of_the_file_opens(closed: str, key: str, scheme: str) -> None:
    header = {b"Authorization": f"{scheme} {key}".encode()}
    assert httpx2.post(f"{closed}/answer", json=BODY, headers=header).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer first", "Bearer first-key2", "Basic first-key", "first-key"]
)
def test_without_one_nothing_does(closed: str, header: str | None) -> None:
    for path in (
        "/answer",
        "/",
        "/v1/models",
        "/docs",
        "/openapi.json",
        "/nowhere",
        "/live/x",
        "/v2/models/minilm-qa",
        "/metrics",
    ):
        reply = httpx2.post(f"{closed}{path}", json=BODY, headers={} if header is None else {"Authorization": header})
        assert reply.status_code == 401, path
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert "Authorization: Bearer KEY" in reply.text


def test_the_refusal_has_the_form_of_the_protocol(closed: str) -> None:
    assert httpx2.post(f"{closed}/answer", json=BODY).json()["reason"] == "unauthorized"
    assert httpx2.get(f"{closed}/v1/models").json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    "path", ["/live", "/ready", "/health", "/ping", "/v2/health/ready", "/v2/models/minilm-qa/ready"]
)
def test_probes_need_none_to_be_read(closed: str, path: str) -> None:
    assert httpx2.get(f"{closed}{path}").status_code == 200
    assert httpx2.post(f"{closed}{path}", content=b" " * 5000).status_code == 401


def test_the_pages_need_none_and_the_refusals_that_point_to_them_point_to_something(closed: str) -> None:
    page = {"Accept": "text/html"}
    for path in ("/", "/docs", "/openapi.json", "/page/main.js", "/docs/swagger-ui.css"):
        assert httpx2.get(f"{closed}{path}", headers=page).status_code == 200, path
        assert httpx2.post(f"{closed}{path}", headers=page, json=BODY).status_code == 401, path
    assert httpx2.get(closed).status_code == 401
    assert httpx2.get(f"{closed}/page/../answer", headers=page).status_code == 401
    with_key = {"Authorization": f"Bearer {KEYS[0]}"}
    for path in ("/nowhere", "/answer"):
        assert "/docs lists them" in httpx2.get(f"{closed}{path}", headers=with_key).text


def test_the_document_says_what_needs_a_key(closed: str, server: str) -> None:
    document = httpx2.get(f"{closed}/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    asked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needs = operation.get("security", document["security"]) != []
            url = f"{closed}{path.replace('{model}', 'minilm-qa')}"
            assert (httpx2.request(method, url).status_code == 401) is needs, (method, path)
            asked += 1
    assert asked > 20
    without_keys = httpx2.get(f"{server}/openapi.json").json()
    assert "security" not in without_keys
    assert "securitySchemes" not in without_keys["components"]


def test_browsers_may_ask_what_they_may_ask(closed: str) -> None:
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert httpx2.request("OPTIONS", f"{closed}/answer", headers=headers).status_code == 200


def test_clients_bring_the_key_by_themselves(closed: str) -> None:
    found = InferenceClient(base_url=closed, api_key=KEYS[0]).question_answering(question=WHERE, context=LOVELACE)
    assert getattr(found, "answer", None) == "London"
    with pytest.raises(HfHubHTTPError, match="not known here"):
        InferenceClient(base_url=closed, api_key="wrong").question_answering(question=WHERE, context=LOVELACE)


def test_keys_are_never_logged(closed: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for key in (KEYS[0], "a-wrong-one"):
        httpx2.post(f"{closed}/answer", json=BODY, headers={"Authorization": f"Bearer {key}"})
    assert "/answer" in caplog.text
    assert KEYS[0] not in caplog.text
    assert "a-wrong-one" not in caplog.text


def test_keys_come_from_the_variable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("one\n", encoding="utf-8")
    monkeypatch.setenv("SPANMILL_TEST_KEYS", "two, three,")
    both = KeyParameters(file=str(tmp_path / "keys"), variable="SPANMILL_TEST_KEYS")
    assert read_keys(both) == (b"one", b"two", b"three")
    assert read_keys(KeyParameters(variable="SPANMILL_TEST_KEYS")) == (b"two", b"three")


def test_the_usual_variable_counts_without_being_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANMILL_KEYS", "one,two")
    assert read_keys(KeyParameters()) == (b"one", b"two")
    (tmp_path / "keys").write_text("  # who\nthree\n", encoding="utf-8")
    assert read_keys(KeyParameters(file=str(tmp_path / "keys"))) == (b"three", b"one", b"two")
    monkeypatch.setenv("SPANMILL_TEST_KEYS", "four")
    assert read_keys(KeyParameters(variable="SPANMILL_TEST_KEYS")) == (b"four",)


def test_without_keys_there_is_no_service_unless_that_is_said(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    with pytest.raises(NoKeysError, match=r"keys: there are no API keys; set SPANMILL_KEYS to .* keys\.none: true"):
        serve(keys=KeyParameters())
    assert read_keys(KeyParameters(none=True)) == ()
    monkeypatch.setenv("SPANMILL_KEYS", "one")
    with pytest.raises(NoKeysError, match=r"keys\.none: lets anybody ask, and SPANMILL_KEYS is set"):
        read_keys(KeyParameters(none=True))
    monkeypatch.setenv("SPANMILL_KEYS", "")
    with pytest.raises(NoKeysError, match="SPANMILL_KEYS is empty"):
        read_keys(KeyParameters())
    with pytest.raises(ValueError, match="none lets anybody ask, and file or variable name keys"):
        KeyParameters(none=True, file="keys")


def test_a_service_that_should_be_closed_is_never_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setenv("SPANMILL_TEST_KEYS", " , ")
    (tmp_path / "empty").write_text("# nobody\n\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for keys, said in (
        (KeyParameters(file=str(tmp_path / "none")), r"keys\.file: .*none cannot be read"),
        (KeyParameters(file=str(tmp_path / "binary")), r"keys\.file: .*binary cannot be read"),
        (KeyParameters(file=str(tmp_path / "empty")), r"keys\.file: .*empty holds no key"),
        (KeyParameters(variable="SPANMILL_TEST_KEYS"), r"keys\.variable: SPANMILL_TEST_KEYS is empty"),
        (KeyParameters(variable="SPANMILL_NO_KEYS"), r"keys\.variable: SPANMILL_NO_KEYS is not set"),
    ):
        with pytest.raises(NoKeysError, match=said):
            serve(keys=keys)


class _Recording(InProcess):
    """Remembers whose requests it was asked."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.tenants: list[str] = []

    async def ask(self, request: Request) -> Reply:
        self.tenants.append(request.tenant)
        return await super().ask(request)


def _ask(url: str, key: str | None) -> httpx2.Response:
    return httpx2.post(f"{url}/answer", json=BODY, headers={} if key is None else {"Authorization": f"Bearer {key}"})


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, TenantParameters]:
    monkeypatch.setenv("SEARCH_KEYS", "s-1,s-2")
    (tmp_path / "mining").write_text("m-1\n", encoding="utf-8")
    return {
        "search": TenantParameters(variable="SEARCH_KEYS", weight=2.0),
        "mining": TenantParameters(file=str(tmp_path / "mining")),
    }


def test_a_request_is_its_keys_tenants(
    serve: Serve,
    replica: Replica,
    tenants: dict[str, TenantParameters],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("SPANMILL_KEYS", "d-1")
    caplog.set_level(logging.INFO, "spanmill.requests")
    recording = _Recording(replica)
    url = serve(keys=KeyParameters(), tenants=tenants, client=recording)
    assert [_ask(url, key).status_code for key in ("s-2", "m-1", "d-1", "wrong", None)] == [200, 200, 200, 401, 401]
    assert recording.tenants == ["search", "mining", "default"]
    # A line is written after the response has gone out.
    until(lambda: len(caplog.messages) == 5)
    logged = [line for line in caplog.messages if '"route":"POST ' in line]
    assert ['"tenant":"search"' in line for line in logged] == [True, False, False, False, False]
    assert ['"tenant"' in line for line in logged] == [True, True, True, False, False]


def test_where_tenants_have_keys_nobody_else_needs_one_and_nobody_may_ask_without(
    serve: Serve, tenants: dict[str, TenantParameters], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPANMILL_KEYS", raising=False)
    assert read_tenant_keys(KeyParameters(), tenants) == {b"s-1": "search", b"s-2": "search", b"m-1": "mining"}
    assert _ask(serve(keys=KeyParameters(), tenants=tenants), None).status_code == 401


def test_where_anybody_may_ask_a_key_still_says_whose_a_request_is(
    serve: Serve, replica: Replica, tenants: dict[str, TenantParameters], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPANMILL_KEYS", raising=False)
    recording = _Recording(replica)
    url = serve(tenants=tenants, client=recording)
    assert [_ask(url, key).status_code for key in ("s-1", "wrong", None)] == [200] * 3
    assert recording.tenants == ["search", "default", "default"]


def test_keys_of_a_tenant_that_cannot_be_used_are_named(
    tenants: dict[str, TenantParameters], monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant, said in (
        (TenantParameters(file="/no/keys"), r"tenants\.ads\.file: /no/keys cannot be read"),
        (TenantParameters(variable="ADS_KEYS"), r"tenants\.ads\.variable: ADS_KEYS is not set"),
    ):
        with pytest.raises(NoKeysError, match=said):
            read_tenant_keys(KeyParameters(none=True), {"ads": tenant})
    monkeypatch.setenv("ADS_KEYS", "a-1,s-1")
    both = tenants | {"ads": TenantParameters(variable="ADS_KEYS")}
    with pytest.raises(KeysError, match="search and ads have a key in common; give each its own"):
        read_tenant_keys(KeyParameters(none=True), both)


def test_a_key_that_used_its_tokens_is_told_when_to_come_again_in_the_form_of_its_protocol(
    serve: Serve, tenants: dict[str, TenantParameters]
) -> None:
    limited = tenants | {"mining": tenants["mining"].model_copy(update={"tokens_per_minute": 10})}
    url = serve(keys=KeyParameters(none=True), tenants=limited)
    assert _ask(url, "m-1").status_code == 200
    refused = _ask(url, "m-1")
    assert (refused.status_code, refused.json()["reason"]) == (429, "tokens_per_minute")
    # Some thirty tokens at ten a minute: twenty of debt.
    assert 60 < int(refused.headers["Retry-After"]) < 240
    embeddings = httpx2.post(
        f"{url}/v1/embeddings",
        json={"model": "minilm-qa", "input": "a text"},
        headers={"Authorization": "Bearer m-1"},
    )
    assert (embeddings.status_code, "used up its tokens" in embeddings.json()["error"]["message"]) == (429, True)
    assert [_ask(url, key).status_code for key in ("s-1", None)] == [200, 200], "limits are of one key"
