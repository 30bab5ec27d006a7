"""The config of `spanmill view`: how the stores of outputs, and of the input of their jobs, are reached."""

from pydantic import BaseModel, ConfigDict

from actors.parameters import Settings
from pipelines.config.job import CorpusParameters, OutputParameters


class OtherParameters(Settings):
    """The second output."""

    storage: dict[str, object] | None = None
    """fsspec options of OTHER; null takes those of OUTPUT."""


class ViewConfig(BaseModel):
    """The part of any job's config that `spanmill view` needs; it takes no notice of the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    corpus: CorpusParameters = CorpusParameters()
    """What was read: its storage is that of passages which OUTPUT does not carry."""

    output: OutputParameters = OutputParameters()
    """What was written."""

    other: OtherParameters = OtherParameters()
    """What it is compared with."""
