"""The service over the model that ships, once per session."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from actors.model_actor import ModelActor
from actors.models.hub import find_model
from actors.parameters import (
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    SharingParameters,
)
from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.key_parameters import KeyParameters
from actors.serving.model_card import describe
from actors.serving.parameters import CorsParameters, LimitParameters
from actors.serving.replica.replica import Replica
from tests.actors.serving.helpers import NAME, InProcess, serving

Serve = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def _patient_clients() -> None:
    """By default httpx2 gives up after five seconds, which a busy machine may need."""
    httpx2._config.DEFAULT_TIMEOUT_CONFIG.__init__(120.0)  # type: ignore[misc]


@pytest.fixture(scope="session")
def replica() -> Replica:
    """The model that ships, on one thread of the CPU."""
    model = ModelParameters(name=NAME, device="cpu", threads=1)
    actor = ModelActor(model, BatchingParameters(), with_qa_head=True, sharing=SharingParameters())
    return Replica(actor, describe(find_model(model), model))


@pytest.fixture(scope="session")
def context(replica: Replica) -> Context:
    """What the routes are built from, with the defaults of the service."""
    return Context(
        client=InProcess(replica),
        limits=LimitParameters(),
        qa=QAParameters(),
        embedding=EmbeddingParameters(),
        model=NAME,
    )


@pytest.fixture(scope="session")
def server(context: Context) -> Iterator[str]:
    """The URL of the whole service, without keys."""
    with serving(build_app(context, KeyParameters(none=True), CorsParameters())) as url:
        yield url


@pytest.fixture
def serve(context: Context) -> Iterator[Serve]:
    """Serves another context for the length of a test: `serve(limits=..., keys=..., tenants=...)` gives its URL."""
    with ExitStack() as stack:

        def start(
            keys: Any = None, cors: Any = None, server_sets_id: bool = False, tenants: Any = None, **changes: Any
        ) -> str:
            app = build_app(
                replace(context, **changes),
                keys or KeyParameters(none=True),
                cors or CorsParameters(),
                server_sets_id,
                tenants=tenants,
            )
            running: AbstractContextManager[str] = serving(app)
            return stack.enter_context(running)

        yield start
