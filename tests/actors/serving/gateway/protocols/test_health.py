import httpx2
import pytest

from actors.engine.passes import Pass
from actors.serving.key_parameters import KeyParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal, Refused
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import InProcess


class Away(InProcess):
    """No model actor is there."""

    async def ready(self) -> None:
        raise Refused(Refusal(503, "not_ready", "no model actor is ready; try again later"))


def test_ready_means_that_a_forward_pass_succeeded(server: str, replica: Replica) -> None:
    passes: list[Pass] = []
    replica.actor.engine.watch(passes.append)
    reply = httpx2.get(f"{server}/ready")
    assert (reply.status_code, reply.json()) == (200, {"status": "ready", "model": "minilm-qa"})
    assert len(passes) == 1
    replica.actor.engine.watch(lambda _: None)


@pytest.mark.parametrize("path", ["/ready", "/health", "/v2/health/ready", "/ours/up"])
def test_without_a_model_the_service_lives_and_is_not_ready(serve: Serve, replica: Replica, path: str) -> None:
    url = serve(client=Away(replica), health_route="/ours/up")
    assert httpx2.get(f"{url}/live").json() == {"status": "live"}
    reply = httpx2.get(f"{url}{path}")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert "no model actor is ready" in reply.text


def test_metrics_are_plain_text(server: str) -> None:
    reply = httpx2.get(f"{server}/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert reply.text == "spanmill_inside 0\n"


def test_readiness_may_have_a_further_path(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANMILL_TEST_HEALTH_KEYS", "one")
    url = serve(health_route="/ours/up", keys=KeyParameters(variable="SPANMILL_TEST_HEALTH_KEYS"))
    reply = httpx2.get(f"{url}/ours/up")
    assert (reply.status_code, reply.json()) == (200, {"status": "ready", "model": "minilm-qa"})
    assert httpx2.post(f"{url}/ours/up").status_code == 401, "without a key it is read only"
    document = httpx2.get(f"{url}/openapi.json").json()
    assert document["paths"]["/ours/up"]["get"]["security"] == []
    # One that is a probe already is taken as it is.
    for probe in ("/ready", "/health", "/ping"):
        assert httpx2.get(f"{serve(health_route=probe)}{probe}").status_code == 200


@pytest.mark.parametrize(
    "path", ["/metrics", "/v1/models", "/info", "/v2/models/minilm-qa", "/live", "/docs", "/openapi.json"]
)
def test_another_route_cannot_be_the_health_route(serve: Serve, path: str) -> None:
    with pytest.raises(ValueError, match=f"gateway.health_route: {path} is a route already"):
        serve(health_route=path)
