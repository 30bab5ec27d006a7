"""Spanmill: extractive question answering and embeddings, for one passage or for a whole corpus.

    from spanmill import QuestionAnswering

    qa = QuestionAnswering()
    qa(question="Who wrote it?", context="It was written by Ada.")

Nothing heavy is imported before it is needed: torch with the first model, Ray with the first job.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from actors.version import release

if TYPE_CHECKING:
    from spanmill.embedder import Embedder
    from spanmill.jobs import JobResult, answer, embed
    from spanmill.question_answering import QuestionAnswering

__all__ = ["Embedder", "JobResult", "QuestionAnswering", "__version__", "answer", "embed"]

__version__ = release()

_HOMES = {
    "QuestionAnswering": "question_answering",
    "Embedder": "embedder",
    "JobResult": "jobs",
    "answer": "jobs",
    "embed": "jobs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spanmill' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"spanmill.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
