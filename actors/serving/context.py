"""What the routes have in common."""

from dataclasses import dataclass, field
from typing import Protocol

from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.serving.parameters import LimitParameters
from actors.serving.types import ModelCard, Refusal, Refused, Reply, Request
from actors.tokenization.encoder_spec import EncoderSpec


class ModelClient(Protocol):
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

    async def spec(self) -> EncoderSpec:
        """The model's tokenizer and frames.

        Raises:
            Refused: no model actor is ready.
        """
        ...

    async def metrics(self) -> str:
        """Metrics of the whole application in Prometheus' text format."""
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

    dispatcher: ModelClient
    limits: LimitParameters
    qa: QAParameters
    """Defaults of requests that do not say otherwise."""
    embedding: EmbeddingParameters
    """Likewise."""
    model: str
    """Name of the model, under which clients may ask for it."""
    batching: BatchingParameters = field(default_factory=BatchingParameters)
    """Of the model actors, for those who ask what the limits are."""

    def check_model(self, name: str) -> None:
        """Raises Refused where a client asks for another model; the last part of the served model's path will do."""
        if name not in (self.model, self.model.rstrip("/").rpartition("/")[2]):
            raise Refused(
                Refusal(
                    404,
                    "model_not_found",
                    f"there is no model {name[:100]!r} here; ask for {self.model!r}",
                    field="model",
                )
            )

    async def check_dimensions(self, wanted: int | None, status: int = 422, reason: str = "invalid") -> None:
        """Raises Refused where a client asks for embeddings of another width than the model's; None takes any."""
        if wanted is None:
            return
        width = (await self.dispatcher.card()).hidden_size
        if wanted != width:
            message = f"{self.model} gives {width}, not {wanted}; leave it out"
            raise Refused.of_field("dimensions", message, status, reason)
