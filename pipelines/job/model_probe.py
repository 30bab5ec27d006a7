"""What the driver must know of the model before it can plan a job."""

from dataclasses import dataclass

from actors.backends.base import Backend, ModelOutput, check_outputs, find_runtime
from actors.backends.speed_probe import measure_speed
from actors.models.hub import find_model, fingerprint
from actors.models.loading import load_backend, load_spec
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import embedding_window_size, qa_window_size
from pipelines.config.job import AnswerConfig, EmbedConfig

Config = AnswerConfig | EmbedConfig

_GPU_FACTOR = 50.0
"""How much faster a GPU is taken to be than the driver's CPU, where the driver has none to try."""


@dataclass(frozen=True)
class ProbedModel:
    """What the driver knows of the model: enough to plan, too little to run."""

    fingerprint: str
    spec: EncoderSpec
    hidden_size: int
    tokens_per_second: float
    """Of one actor, as the driver's machine lets it expect."""


def probe_model(config: Config) -> ProbedModel:
    """Finds the model, and makes sure that it can do what the job asks.

    Raises:
        ModelError: there is no such model, or it cannot.
    """
    folder = find_model(config.model)
    spec = load_spec(folder)
    if isinstance(config, AnswerConfig):
        qa_window_size(spec, config.qa)
    else:
        embedding_window_size(spec, config.embedding)
    if config.embedding is not None:
        check_outputs(frozenset({ModelOutput.POOLED}), find_runtime(config.model.backend).outputs)
    answers = isinstance(config, AnswerConfig)
    # The device of this machine that is most like an actor's.
    here = "cpu" if config.model.device == "cpu" else "auto"
    backend = load_backend(folder, config.model.model_copy(update={"device": here}), with_qa_head=answers)
    speed = _times_faster(config, backend) * measure_speed(backend, spec, want_spans=answers)
    return ProbedModel(fingerprint(folder, config.model.backend), spec, backend.hidden_size, speed)


def _times_faster(config: Config, here: Backend) -> float:
    """How much faster an actor's device is taken to be than this one."""
    actor_has_gpu = config.pool.gpus or config.model.device.startswith("cuda")
    return _GPU_FACTOR if actor_has_gpu and here.device == "cpu" else 1.0
