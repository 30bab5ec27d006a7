"""The config keys of the service, in sections."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, field_validator, model_validator

from actors.models.names import check_distinct, public_name
from actors.parameters import (
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    Settings,
    SharingParameters,
    SingleEmbedding,
)
from actors.serving.key_parameters import KeyParameters, TenantParameters, check_tenants
from actors.tenants import DEFAULT_TENANT, TenantWeights

_ROUTE = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_MODEL_NAME = re.compile(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*")


class LimitParameters(Settings):
    """What a single request may ask for. Beyond a limit it is refused with the limit's name, never cut."""

    max_request_bytes: int = Field(default=16 << 20, ge=1024)
    """Longest request body in bytes: 413 beyond."""

    max_bytes_in_flight: int = Field(default=256 << 20, ge=1024)
    """Bytes of all the bodies that one gateway has in hand, from their arrival to their responses: 429 beyond."""

    max_inputs: int = Field(default=256, ge=1)
    """Most rows (question and passage pairs, or texts) in one request: 413 beyond."""

    max_text_bytes: int = Field(default=4 << 20, ge=1)
    """Longest question, passage or text in UTF-8 bytes: 413 beyond."""

    max_windows: int = Field(default=16_384, ge=1)
    """Most windows that the texts of one request are cut into: 413 beyond. Where `top_k` keeps more than 64 candidates
    of a window, proportionally less."""

    max_token_vectors: int = Field(default=32_768, ge=1)
    """Most tokens of one request whose every vector is wanted (/embed_all): 413 beyond."""

    max_reply_bytes: int = Field(default=32 << 20, ge=1024, le=1 << 30)
    """Longest JSON of the columns and probabilities that one request asks for (/encode, and /answer with `columns` or
    `probabilities`), in bytes, as estimated before the forward pass: 413 beyond. It also bounds what the column hidden
    keeps of a request's windows in memory."""

    max_in_flight: int = Field(default=1024, ge=1)
    """Requests that one gateway has at the model actors of each model at once: 429 beyond."""

    timeout_ms: int = Field(default=60_000, ge=1)
    """Deadline of requests that name none by X-Request-Timeout-Ms, in milliseconds, and the longest that they may
    name: 504 where the answer is not there by then."""

    retry_after_seconds: int = Field(default=1, ge=1)
    """What a refusal with 429 or 503 tells the client to wait."""

    @model_validator(mode="after")
    def _one_fits(self) -> "LimitParameters":
        if self.max_bytes_in_flight < self.max_request_bytes:
            raise ValueError(
                f"max_bytes_in_flight ({self.max_bytes_in_flight}) is less than max_request_bytes "
                f"({self.max_request_bytes}), so no request of that size could come in; raise it"
            )
        return self


class CorsParameters(Settings):
    """Which web pages may ask, by the browser's rules."""

    origins: tuple[str, ...] = ()
    """Origins, such as https://example.org; empty turns CORS off."""


class ReplicaParameters(Settings):
    """The model actors that serve."""

    min: int = Field(default=1, ge=1)
    """Fewest replicas."""

    max: int = Field(default=1, ge=1)
    """Most replicas; more than `min` scales between the two by online load."""

    online_calls: float = Field(default=8.0, gt=0.0)
    """Online requests that one replica should have in hand on average; more start another replica."""

    count_offline: bool = False
    """Whether offline work starts replicas too: all of them while any is in hand. Usually it takes what is left."""

    up_seconds: float = Field(default=15.0, gt=10.0)
    """How long more replicas must be wanted, by the mean of as many seconds, before they are started. Replicas report
    their load every ten seconds."""

    down_seconds: float = Field(default=300.0, ge=0.0)
    """How long fewer replicas must do before the others are stopped."""

    cpus: float = Field(default=1.0, ge=0.0)
    """CPUs that Ray reserves for a replica; its threads are model.threads."""

    gpus: float = Field(default=0.0, ge=0.0)
    """GPUs that Ray reserves for a replica."""

    drain_seconds: float = Field(default=30.0, gt=0.0)
    """Longest that a replica may take to finish what it has in hand, when it is updated or stopped. A gateway may take
    as long as a request, `limits.timeout_ms`, where that is longer."""

    @model_validator(mode="after")
    def _ordered(self) -> "ReplicaParameters":
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is less than min ({self.min})")
        return self


class GatewayParameters(Settings):
    """The processes that speak HTTP in front of the model actors."""

    replicas: int = Field(default=1, ge=1)
    """How many."""

    cpus: float = Field(default=0.1, ge=0.0)
    """CPUs that Ray reserves for one."""

    log_requests: bool = True
    """Write a line of JSON for every request to the gateway's stderr, in Ray's logs: id, route, status, times, rows."""

    health_route: str | None = None
    """A further path at which GET says what /ready says, for a host of containers that asks at one of its own; as with
    /ready, it needs no key."""

    @field_validator("health_route")
    @classmethod
    def _is_path(cls, route: str | None) -> str | None:
        if route is not None and _ROUTE.fullmatch(route) is None:
            raise ValueError("a health route is a path such as /health: a slash, then letters, digits and -._~/")
        return route


class ServedModel(Settings):
    """One of several models of a service."""

    name: str | None = None
    """What clients call it; null is the model's hub id, or the last part of its folder or URL."""

    model: ModelParameters
    """Which model it is."""

    qa: QAParameters = QAParameters()
    """What requests for answers get that do not say otherwise."""

    embedding: SingleEmbedding = EmbeddingParameters()
    """What requests for embeddings get that do not say otherwise."""

    batching: BatchingParameters = BatchingParameters()
    """Limits of its adaptive batcher."""

    replicas: ReplicaParameters = ReplicaParameters()
    """Its model actors."""

    @property
    def public_name(self) -> str:
        """What clients call it."""
        return self.name or public_name(self.model.name)

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str | None) -> str | None:
        if name is not None and _MODEL_NAME.fullmatch(name) is None:
            raise ValueError("a name of a model is letters, digits and -._~, and slashes between them; write it so")
        return name


_OF_EACH = ("model", "qa", "embedding", "batching", "replicas")
"""Sections that each of several models may have for itself."""
_OF_ONE = ("name", "revision")
"""Keys of the section `model` that say which model it is, and so are no model's but its own."""


class ServiceParameters(Settings):
    """The whole service, as configs/serve.yaml and the `args` of a Ray Serve config file hold it."""

    model: ModelParameters = ModelParameters()
    """Which model runs."""

    models: tuple[ServedModel, ...] = ()
    """Several models: a list, each with the section `model` and its name in it, and where it wants them others `qa`,
    `embedding`, `batching`, `replicas`, and a `name` for clients. What one leaves out is what the service's sections
    say; model.name and model.revision of the service are not looked at then. Empty serves that one model."""

    qa: QAParameters = QAParameters()
    """What requests for answers get that do not say otherwise."""

    embedding: SingleEmbedding = EmbeddingParameters()
    """What requests for embeddings get that do not say otherwise."""

    batching: BatchingParameters = BatchingParameters()
    """Limits of the adaptive batcher."""

    sharing: SharingParameters = SharingParameters()
    """How online requests and offline jobs share a replica."""

    replicas: ReplicaParameters = ReplicaParameters()
    """The model actors."""

    gateway: GatewayParameters = GatewayParameters()
    """Who speaks HTTP."""

    limits: LimitParameters = LimitParameters()
    """What one request may ask for."""

    keys: KeyParameters = KeyParameters()
    """Who may ask."""

    tenants: dict[str, TenantParameters] = {}
    """Teams that share the service, by name: {search: {file: /run/secrets/search, weight: 2}}. Each may have file or
    variable (where its keys are), weight, and for each key requests_in_hand and tokens_per_minute; docs/tenants.md has
    more. Keys of the section keys are those of the tenant default."""

    cors: CorsParameters = CorsParameters()
    """Which web pages may ask."""

    def served(self) -> tuple[ServedModel, ...]:
        """The models that are served, one or more; the first answers where a request names none."""
        return self.models or (ServedModel(**{section: getattr(self, section) for section in _OF_EACH}),)

    def with_served(self, served: Sequence[ServedModel]) -> "ServiceParameters":
        """The service with as many models in place of its own; two that have the same name are not looked for."""
        return self.model_copy(update={"models": tuple(served)}) if self.models else self.of_one(served[0])

    def of_one(self, one: ServedModel) -> "ServiceParameters":
        """The service as if it served this model alone."""
        return self.model_copy(update={section: getattr(one, section) for section in _OF_EACH} | {"models": ()})

    @model_validator(mode="before")
    @classmethod
    def _complete_models(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("models"), list | tuple):
            return values
        entries = [_completed(index, entry, values) for index, entry in enumerate(values["models"])]
        return {**values, "models": entries}

    @model_validator(mode="after")
    def _distinct(self) -> "ServiceParameters":
        try:
            check_distinct([one.public_name for one in self.models])
        except ValueError as error:
            raise ValueError(f"models: {error}") from error
        return self

    @model_validator(mode="after")
    def _health_route_is_no_models(self) -> "ServiceParameters":
        route = self.gateway.health_route
        if len(self.models) > 1 and route is not None and route.startswith("/models/"):
            raise ValueError(
                f"gateway.health_route: with several models {route} is a path of one of them; name one that does not "
                "begin with /models/"
            )
        return self

    @property
    def weights(self) -> TenantWeights:
        """The tenants, `default` among them, and their weights."""
        named = {name: tenant.weight for name, tenant in self.tenants.items()}
        return TenantWeights({DEFAULT_TENANT: 1.0} | named)

    @field_validator("tenants")
    @classmethod
    def _are_named_and_have_keys(cls, tenants: dict[str, TenantParameters]) -> dict[str, TenantParameters]:
        check_tenants(tenants)
        return tenants

    @model_validator(mode="after")
    def _bodies_fit(self) -> "ServiceParameters":
        limits = self.limits
        if len(self.weights.weights) > 1 and limits.max_bytes_in_flight < 2 * limits.max_request_bytes:
            raise ValueError(
                f"limits.max_bytes_in_flight ({limits.max_bytes_in_flight}) is less than twice "
                f"limits.max_request_bytes ({limits.max_request_bytes}), and half of it is kept for the tenants by "
                "their weights, so that a request of that size might never come in; raise it"
            )
        return self

    @model_validator(mode="after")
    def _each_tenant_may_ask(self) -> "ServiceParameters":
        weights = self.weights
        rooms = {
            "sharing.queue_requests": self.sharing.queue_requests,
            "limits.max_in_flight": self.limits.max_in_flight,
        }
        for key, room in rooms.items():
            for name in weights.weights:
                if len(weights.weights) > 1 and weights.kept(name, room) < 1:
                    raise ValueError(
                        f"{key} ({room}) keeps less than one request for the tenant {name} by its weight; raise {key} "
                        f"or tenants.{name}.weight"
                    )
        return self


def _completed(index: int, entry: object, service: Mapping[str, object]) -> object:
    """An entry of `models` with what it leaves out; what is none stays as it is, and is refused as such."""
    if isinstance(entry, str):
        entry = {"model": {"name": entry}}
    if not isinstance(entry, Mapping):
        return entry
    named = entry.get("model")
    if not isinstance(named, BaseModel) and not (isinstance(named, Mapping) and named.get("name")):
        raise ValueError(f"models.{index}.model.name: it is missing; say which model this is")
    return {**entry, **{section: _with_rest(section, entry.get(section), service) for section in _OF_EACH}}


def _with_rest(section: str, own: object, service: Mapping[str, object]) -> object:
    given = service.get(section)
    rest = given.model_dump(exclude_unset=True) if isinstance(given, BaseModel) else given
    if not isinstance(own, Mapping | None) or not isinstance(rest, Mapping | None):
        return own
    shared = {key: value for key, value in (rest or {}).items() if section != "model" or key not in _OF_ONE}
    return {**shared, **(own or {})}
