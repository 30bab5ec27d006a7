"""What a job wants of its model, by its config."""

from actors.engine.inference_task import Wanted
from actors.parameters import EmbeddingParameters
from pipelines.config.job import AnswerConfig, OfflineConfig


def wanted_of(config: OfflineConfig) -> Wanted:
    """What a job wants of its model."""
    qa, named = config.qa if isinstance(config, AnswerConfig) else None, config.output.columns
    if named is None:
        return Wanted(qa, config.embedding)
    embeds, pools = "embedding" in named, "embedding" in named or "hidden" in named
    return Wanted(
        qa,
        config.embedding or (EmbeddingParameters() if pools else None),
        answers="answers" in named,
        embeddings=embeds,
        token_texts="tokens" in named,
        token_vectors=config.token_vectors if "token_vectors" in named else None,
        layer_vectors="hidden" in named,
        attention=config.attention if "attention" in named else None,
        attribution="attribution" in named,
    )
