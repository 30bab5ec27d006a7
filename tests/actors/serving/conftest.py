"""The service over the model that ships, once per session."""

from collections.abc import Iterator

import pytest

from actors.model_actor import ModelActor
from actors.models import find_model
from actors.parameters import (
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    SharingParameters,
)
from actors.serving.context import Context
from actors.serving.gateway import build_app
from actors.serving.parameters import CorsParameters, KeyParameters, LimitParameters
from actors.serving.replica import Replica, describe
from tests.actors.serving.helpers import InProcess, serving

NAME = "models/minilm-qa"


@pytest.fixture(scope="session")
def replica() -> Iterator[Replica]:
    """The model that ships, on one thread of the CPU."""
    model = ModelParameters(name=NAME, device="cpu", threads=1)
    actor = ModelActor(model, BatchingParameters(), with_qa_head=True, sharing=SharingParameters())
    card = describe(find_model(model), model)
    yield Replica(actor, card)
    assert actor.desk is not None
    actor.desk.close()


@pytest.fixture(scope="session")
def context(replica: Replica) -> Context:
    """What the routes are built from, with the defaults of the service."""
    return Context(
        dispatcher=InProcess(replica),
        limits=LimitParameters(),
        qa=QAParameters(),
        embedding=EmbeddingParameters(),
        model=NAME,
    )


@pytest.fixture(scope="session")
def server(context: Context) -> Iterator[str]:
    """The URL of the whole service, without keys."""
    with serving(build_app(context, KeyParameters(), CorsParameters())) as url:
        yield url
