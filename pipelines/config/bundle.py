"""The config of `spanmill bundle`: how the model is found, how OUTPUT is reached, and how the endpoint answers."""

from typing import Literal

from pydantic import Field

from actors.parameters import EmbeddingParameters, QAParameters, Settings, SingleEmbedding
from pipelines.config.export import ExportedModelParameters, ExportOutputParameters


class BundledModelParameters(ExportedModelParameters):
    """The model that is bundled; MODEL names it."""

    precision: Literal["exact", "fast", "auto"] = "auto"
    """In which the endpoint computes: exact is float32, fast a half precision; auto is fast on GPUs, exact on CPUs."""


class BundleConfig(Settings):
    """`spanmill bundle`: all that is not an option of its own."""

    model: BundledModelParameters = BundledModelParameters()
    """Where the model comes from, and how it is held."""

    output: ExportOutputParameters = ExportOutputParameters()
    """Where the bundle goes."""

    qa: QAParameters = QAParameters()
    """What requests for answers get that do not say otherwise."""

    embedding: SingleEmbedding = EmbeddingParameters()
    """What requests for embeddings get that do not say otherwise."""

    max_inputs: int = Field(default=256, ge=1)
    """Most rows in one request."""
