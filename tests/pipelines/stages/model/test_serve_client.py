"""A piece that replicas refuse or die at; pipelines/cli/commands/test_serve.py runs whole jobs on replicas."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError

from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import PassStats
from actors.errors import ModelError, NoRoom
from actors.parameters import QAParameters
from actors.serving.gateway.handle_client import MOST_CRASHES
from actors.serving.types import ModelIdentity, Refusal
from pipelines.errors import ServiceChangedError
from pipelines.stages.model.serve_client import ServeClient
from pipelines.stages.model.shard_pieces import ShardPieces
from tests.actors.helpers import prepare, word_spec

QA = QAParameters()
OWNERS = np.array([0], np.int32)
DONE = (pa.table({"answer": ["a"]}), PassStats())
MODEL = ModelIdentity("f" * 64, "torch", "float32")
BUSY = Refusal(429, "queue_full", "busy")


class Handle:
    """A deployment handle whose calls have these outcomes, one after the other, and then the last one always."""

    def __init__(self, *outcomes: Any) -> None:
        self.calls = 0
        self._outcomes = outcomes
        self.process = self

    def remote(self, reference: object, task: Wanted, owners: object, expected: object, tenant: str) -> "Handle":
        self.calls += 1
        self.expected = expected
        return self

    def result(self) -> Any:
        outcome = self._outcomes[min(self.calls, len(self._outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def run() -> Callable[[Handle], Any]:
    """Has the replicas of a handle work on a piece."""
    pieces = ShardPieces(prepare(word_spec(), QA, [("w1", "w2")])[0])
    return lambda handle: ServeClient(handle, Wanted(QA), MODEL)._run(None, OWNERS, pieces)


@pytest.mark.parametrize("death", [RayActorError(), OutOfMemoryError("killed")])  # type: ignore[no-untyped-call]
def test_a_piece_at_which_replicas_die_is_given_up_after_a_number_of_deaths(
    run: Callable[[Handle], Any], death: Exception
) -> None:
    handle = Handle(death)
    with pytest.raises(ModelError, match=f"died {MOST_CRASHES} times at the same rows"):
        run(handle)
    assert handle.calls == MOST_CRASHES


def test_deaths_of_others_rows_and_busy_replicas_are_waited_out(run: Callable[[Handle], Any]) -> None:
    handle = Handle(*[RayActorError()] * (MOST_CRASHES - 1), BUSY, ActorUnavailableError("away", None), DONE)
    assert run(handle) == DONE
    assert handle.calls == MOST_CRASHES + 2


def test_a_replica_that_cannot_be_reached_has_not_died(run: Callable[[Handle], Any]) -> None:
    handle = Handle(*[ActorUnavailableError("away", None)] * (MOST_CRASHES + 1), DONE)
    assert run(handle) == DONE


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("no_room", NoRoom),
        ("window_too_large", ModelError),
        ("another_model", ServiceChangedError),
        ("unknown_tenant", ServiceChangedError),
    ],
)
def test_what_a_replica_refuses_for_good_is_not_tried_again(
    run: Callable[[Handle], Any], reason: str, kind: type[Exception]
) -> None:
    handle = Handle(Refusal(503, reason, "the device has none"))
    with pytest.raises(kind, match="the device has none"):
        run(handle)
    assert handle.calls == 1
    assert handle.expected == MODEL
