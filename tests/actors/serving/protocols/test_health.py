import httpx2
import pytest

from actors.engine.passes import Pass
from actors.serving.replica import Replica
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


@pytest.mark.parametrize("path", ["/ready", "/health", "/v2/health/ready"])
def test_without_a_model_the_service_lives_and_is_not_ready(serve: Serve, replica: Replica, path: str) -> None:
    url = serve(client=Away(replica))
    assert httpx2.get(f"{url}/live").json() == {"status": "live"}
    reply = httpx2.get(f"{url}{path}")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert "no model actor is ready" in reply.text


def test_metrics_are_plain_text(server: str) -> None:
    reply = httpx2.get(f"{server}/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert reply.text == "spanmill_inside 0\n"
