"""The config of `spanmill serve`: the service itself, and where it listens and runs."""

from pydantic import Field

from actors.parameters import Settings
from actors.serving.parameters import ServiceParameters
from pipelines.config.job import ClusterParameters


class HTTPParameters(Settings):
    """Where the service listens."""

    host: str = "127.0.0.1"
    """Address; 0.0.0.0 listens to other machines too, and wants keys."""

    port: int = Field(default=8000, ge=1, le=65535)
    """Port."""


class ServeConfig(ServiceParameters):
    """`spanmill serve`: answers and embeddings over HTTP, and for offline jobs."""

    http: HTTPParameters = HTTPParameters()
    """Where it listens."""

    ray: ClusterParameters = ClusterParameters()
    """Ray cluster."""
