"""What the routes of all protocols work with: the client of the model actors, limits, and defaults of requests."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from actors.models.names import either, public_names
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.serving.gateway.checks import check_dimensions
from actors.serving.parameters import LimitParameters
from actors.serving.types import ModelCard, Refusal, Refused, Reply, Request
from actors.tenants import TenantWeights
from actors.tokenization.encoder_spec import EncoderSpec


class ModelClient(Protocol):
    """Sends requests to model actors, wherever they run."""

    async def ask(self, request: Request) -> Reply:
        """Has a model actor answer the request.

        Raises:
            Refused: it cannot be answered, or not at the moment.
        """
        ...

    async def card(self) -> ModelCard:
        """The model that answers.

        Raises:
            Refused: no model actor is ready.
        """
        ...

    async def spec(self) -> EncoderSpec:
        """The model's tokenizer and the templates of its windows.

        Raises:
            Refused: no model actor is ready.
        """
        ...

    async def metrics(self) -> str:
        """Metrics of the whole application in Prometheus' text format."""
        ...

    async def ready(self) -> None:
        """Waits until a real forward pass has succeeded.

        Raises:
            Refused: it did not succeed.
        """
        ...


@dataclass(frozen=True)
class Context:
    """What the routes of a protocol are made with."""

    client: ModelClient
    limits: LimitParameters
    qa: QAParameters
    """Defaults of requests for answers."""
    embedding: EmbeddingParameters
    """Defaults of requests for embeddings."""
    model: str
    """The model's name, as clients see it."""
    batching: BatchingParameters = field(default_factory=BatchingParameters)
    """Of the model actors; /info tells it to clients."""
    health_route: str | None = None
    """A further path of the probe /ready."""
    others: tuple["Context", ...] = ()
    """The service's further models, for requests that name one of them."""
    weights: TenantWeights = field(default_factory=TenantWeights)
    """Of the tenants."""

    @property
    def models(self) -> Sequence[str]:
        """The names of all models that a request may choose, as clients see them."""
        return [one.model for one in (self, *self.others)]

    def named(self, name: str) -> "Context":
        """The model that a client names; `public_names` says how it may be called.

        Raises:
            Refused: there is no such model.
        """
        public = public_names(self.models).get(name)
        for one in (self, *self.others):
            if one.model == public:
                return one
        message = f"there is no model {name[:100]!r} here; ask for {either(self.models)}"
        raise Refused(Refusal(404, "model_not_found", message, field="model"))

    async def ready(self) -> None:
        """Waits until a real forward pass of every model has succeeded.

        Raises:
            Refused: one did not succeed; where there are several models, the message names the one.
        """
        if not self.others:
            await self.client.ready()
            return
        await asyncio.gather(*(one.ready_by_name() for one in (self, *self.others)))

    async def ready_by_name(self) -> None:
        """Waits for this model alone, and names it where it is not ready.

        Raises:
            Refused: its forward pass did not succeed.
        """
        try:
            await self.client.ready()
        except Refused as refused:
            refusal = refused.refusal
            raise Refused(replace(refusal, message=f"model {self.model}: {refusal.message}")) from refused

    async def check_dimensions(
        self, wanted: int | None, status: int = 422, reason: str = "invalid", field: str = "dimensions"
    ) -> None:
        """Raises Refused where a client wants embeddings that the model's cannot be cut to; None accepts any."""
        if wanted is not None:
            check_dimensions(wanted, (await self.client.card()).hidden_size, self.model, status, reason, field)
