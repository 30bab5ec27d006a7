"""The model card of an export: what the hub reads, and a table of the forms for people."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from actors.backends.exported import ExportRecord
from actors.export.form import ExportForm
from actors.models.hub import is_hub_id
from actors.models.names import public_name
from actors.parameters import ModelParameters
from pipelines.export.figures import FormRow, FormTable, on_rows
from pipelines.export.source_card import card_text
from pipelines.templates import render

_CARRIED = ("license", "license_name", "license_link", "language", "datasets", "base_model")
"""Of the card of what was exported."""


def render_card(record: ExportRecord, forms: Mapping[str, ExportForm], source: Mapping[str, Any]) -> str:
    """The card as Markdown with the metadata that the Hugging Face hub reads.

    Args:
        forms: those of the record, by their names in it.
        source: what `source_metadata` gives.
    """
    kinds = [forms[name] for name in dict.fromkeys(form.name for form in record.forms)]
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag="question-answering" if record.has_qa_head else "feature-extraction",
        tags=[*(["extractive-qa"] if record.has_qa_head else []), *(kind.name for kind in kinds), "spanmill"],
        **dict(source),
    )
    rows = [FormRow(form, forms[form.name].name, form.parity) for form in record.forms]
    values = {
        "record": record,
        "metadata": metadata.to_yaml(),
        "name": public_name(record.source),
        "kinds": kinds,
        "table": FormTable.of(rows),
        "below": on_rows((f"{row.name} {row.form.precision}", row.figures) for row in rows),
        "files": [file for form in record.forms for file in form.files],
    }
    return render("pipelines.export", "card.md.j2", values)


def source_metadata(model: ModelParameters, folder: Path) -> dict[str, Any]:
    """What the card of an exported model says of its license, language, data and base; nothing where it has no card.

    Args:
        folder: where `find_model` found it, without the card where it is none of this machine's.
    """
    # A card is nice to have: whatever is wrong with it or its store, the model is exported.
    found: dict[str, Any] = {}
    with suppress(Exception):
        data = ModelCard(card_text(model, folder)).data
        found = {key: data.get(key) for key in _CARRIED if data.get(key)}
    if is_hub_id(model.name):
        found["base_model"] = model.name
    return found
