"""What the routes have in common."""

from dataclasses import dataclass
from typing import Protocol

from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.parameters import LimitParameters
from actors.serving.requests import ModelCard, Reply, Request


class Dispatcher(Protocol):
    """Brings requests to model actors."""

    async def ask(self, request: Request) -> Reply:
        """Asks some model actor.

        Raises:
            Refused: it cannot be answered, or not now.
        """
        ...

    async def card(self) -> ModelCard:
        """The model that answers.

        Raises:
            Refused: no model actor is ready.
        """
        ...

    async def ready(self) -> None:
        """Waits for a real forward pass.

        Raises:
            Refused: none succeeded.
        """
        ...


@dataclass(frozen=True)
class Context:
    """What a family of routes is built from."""

    dispatcher: Dispatcher
    limits: LimitParameters
    qa: QAParameters
    """Defaults of requests that do not say otherwise."""
    embedding: EmbeddingParameters
    """Likewise."""
    model: str
    """Name of the model, under which clients may ask for it."""
