"""The config of `spanmill finetune`: pydantic models, one field per key."""

from typing import Literal

from pydantic import Field

from actors.parameters import QAParameters, Settings
from actors.training.parameters import TrainingParameters
from pipelines.config.job import RayParameters


class SourceModel(Settings):
    """A model that training starts from or learns from."""

    name: str = "distilbert/distilbert-base-uncased"
    """A local folder, a Hugging Face hub id, or any fsspec URL of a folder."""

    revision: str | None = None
    """Branch, tag or commit of a hub id; null means the hub's main branch."""

    storage: dict[str, object] = {}
    """fsspec options for a model that is named by a URL."""


class DataParameters(Settings):
    """Which rows are held out for evaluation."""

    held_out: tuple[str, ...] = ()
    """Files to evaluate the model on during training, in the formats of DATA; --held-out sets it."""

    held_out_share: float = Field(default=0.02, ge=0.0, lt=1.0)
    """Without held-out files, this share of the passages is held out with all their questions; 0 evaluates nothing."""

    held_out_rows: int = Field(default=1000, ge=1)
    """Largest number of rows of an evaluation during training, the same rows each time; the base and the final model
    are evaluated on all held-out rows."""

    storage: dict[str, object] = {}
    """fsspec options for DATA and held_out. Never written to the output."""


class CheckpointParameters(Settings):
    """Checkpoints, from which an interrupted run resumes, and the intervals of checkpoints and evaluation."""

    url: str | None = None
    """Folder of the checkpoints, local or fsspec; null means _checkpoints in OUTPUT. All workers must reach it."""

    every_steps: int = Field(default=500, ge=1)
    """Steps from one checkpoint to the next."""

    judge_every_steps: int = Field(default=1000, ge=1)
    """Steps from one evaluation on held-out rows to the next."""

    storage: dict[str, object] = {}
    """fsspec options for `url`; those of the output where it is null."""


class WorkerParameters(Settings):
    """Ray Train's workers, which share every batch."""

    number: int | None = Field(default=None, ge=1)
    """Workers; null takes one per GPU of the cluster, or one where there is none."""

    cpus: float | None = Field(default=None, gt=0.0)
    """CPUs, and threads, of a worker; null shares those of the cluster, less one where it has more than two."""

    max_failures: int = Field(default=3, ge=0)
    """Worker failures that a run survives by resuming from the last checkpoint; one more fails the run."""


class ModelOutputParameters(Settings):
    """The folder that is written."""

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the weights on disk."""

    license: str | None = None
    """License for the model card, by its name on the hub: apache-2.0, cc-by-sa-4.0."""

    storage: dict[str, object] = {}
    """fsspec options for OUTPUT."""


class FinetuneConfig(Settings):
    """`spanmill finetune`: a base and examples become a model that answers."""

    base: SourceModel = SourceModel()
    """The model to start from, with a QA head or without; --base names it."""

    teacher: SourceModel | None = None
    """A model with a QA head, of any tokenizer, whose answer distributions are learnt too; --teacher sets it."""

    halve: bool = False
    """Start from every other layer of the base."""

    data: DataParameters = DataParameters()
    """Training and held-out rows."""

    qa: QAParameters = QAParameters()
    """Windows of the training, and how held-out rows are answered."""

    training: TrainingParameters = TrainingParameters()
    """Training parameters."""

    checkpoints: CheckpointParameters = CheckpointParameters()
    """Checkpoints and evaluation."""

    workers: WorkerParameters = WorkerParameters()
    """Ray Train's workers."""

    output: ModelOutputParameters = ModelOutputParameters()
    """What is written."""

    ray: RayParameters = RayParameters()
    """Ray cluster."""
