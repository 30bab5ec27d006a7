"""The model card of a trained model: its data, its settings and its scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from actors.models.hub import is_hub_id
from actors.version import release
from pipelines.config.training import FinetuneConfig
from pipelines.evaluation.squad import SkippedRows
from pipelines.storage.url import Url
from pipelines.templates import render
from pipelines.training.dataset import TrainingData
from pipelines.training.messages import HeldOutScores


@dataclass(frozen=True)
class Card:
    """The contents of a model card."""

    base: str
    teacher: str | None
    halved: bool
    files: tuple[str, ...]
    rows: int
    """Rows of the data, held-out ones not included."""
    unanswerable: int
    """Rows without an answer, out of `rows`."""
    held_out: str
    """The rows that were held out for evaluation, in words."""
    warnings: tuple[str, ...]
    """What was left out of the data and does not count among `rows`, a line of text each."""
    untrained: tuple[str, ...]
    """Rows out of `rows` that gave no training windows, a line of text for each reason."""
    settings: dict[str, Any]
    """The groups `qa` and `training` of the config."""
    history: tuple[HeldOutScores, ...]
    license: str | None

    @classmethod
    def of(
        cls,
        config: FinetuneConfig,
        data: TrainingData,
        left_out: Sequence[SkippedRows],
        history: Sequence[HeldOutScores],
    ) -> "Card":
        """The card of a run."""
        share = f"{config.data.held_out_share:.1%} of the passages, which were not learnt from"
        answers = data.examples["answer_texts"].combine_chunks()
        return cls(
            base=str(Url(config.base.name)),
            teacher=None if config.teacher is None else str(Url(config.teacher.name)),
            halved=config.halve,
            files=tuple(file.name for file in data.files),
            rows=len(data.examples),
            unanswerable=int((answers.value_lengths().to_numpy() == 0).sum()),
            held_out=", ".join(str(Url(text)) for text in config.data.held_out) or share,
            warnings=data.warnings,
            untrained=tuple(str(one) for one in left_out),
            settings={"qa": config.qa.model_dump(), "training": config.training.model_dump()},
            history=tuple(history),
            license=config.output.license,
        )


def render_card(card: Card) -> str:
    """The card as Markdown with the metadata that the Hugging Face hub reads."""
    metadata = ModelCardData(
        license=card.license,
        library_name="transformers",
        pipeline_tag="question-answering",
        base_model=card.base if is_hub_id(card.base) else None,
        tags=["extractive-qa", "spanmill"],
    )
    values = {
        "card": card,
        "metadata": metadata.to_yaml(),
        "settings": yaml.safe_dump(card.settings, sort_keys=False).strip(),
        "version": release(),
    }
    return render("pipelines.training", "model_card.md.j2", values)
