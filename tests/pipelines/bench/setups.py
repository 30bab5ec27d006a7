"""What workers are told, for a golden model."""

from typing import Any

from tests.actors.helpers import GOLDEN

MODEL = GOLDEN / "models" / "distilbert"


def setup_of(task: str, **further: object) -> dict[str, Any]:
    """As `pipelines.bench.command` makes it."""
    qa = {"max_seq_len": 64, "doc_stride": 16, "max_answer_len": 15}
    return {
        "model": str(MODEL),
        "task": task,
        "threads": 1,
        "device": "cpu",
        "qa": qa,
        "embedding": {"max_seq_len": 64, "pooling": "mean"},
        "batching": {},
        **further,
    }
