"""What a job wants of its model, by its config."""

from actors.engine.inference_task import Wanted
from actors.parameters import ChunkParameters, EmbeddingParameters
from pipelines.config.job import AnswerConfig, OfflineConfig


def wanted_of(config: OfflineConfig) -> Wanted:
    """What a job wants of its model."""
    qa, named = config.qa if isinstance(config, AnswerConfig) else None, config.output.columns
    chunk = chunk_of(config)
    is_late = chunk is not None and chunk.context == "document"
    if named is None:
        return Wanted(qa, config.embedding, late_chunks=is_late)
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
        late_chunks=is_late,
    )


def chunk_of(config: OfflineConfig) -> ChunkParameters | None:
    """How a job cuts its texts into chunks; None where it does not."""
    return None if isinstance(config, AnswerConfig) else config.chunk
