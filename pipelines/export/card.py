"""The model card of an export: what the hub reads, and a table of the forms for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from huggingface_hub import ModelCard, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from actors.backends.exported import ExportedForm, ExportRecord
from actors.export.form import ExportForm
from actors.models.hub import is_shipped
from actors.models.names import is_place
from actors.parameters import ModelParameters

CARD = "README.md"
_CARRIED = ("license", "license_name", "license_link", "language", "datasets", "base_model")
"""Of the card of what was exported."""


@dataclass(frozen=True)
class Figure:
    """A column of the table."""

    title: str
    key: str
    """In `actors.export.parity.Parity`."""
    form: str
    """As `format` takes it."""

    def of(self, parity: Mapping[str, int | float | None] | None) -> str:
        """What stands in the column; empty where it was not measured."""
        value = None if parity is None else parity.get(self.key)
        return "" if value is None else format(value, self.form)


FIGURES = (
    Figure("largest difference of a logit", "largest_logit", ".2g"),
    Figure("hidden states", "hidden", ".2g"),
    Figure("least cosine", "least_cosine", ".6f"),
    Figure("equal spans", "equal_spans", ".1%"),
    Figure("F1", "f1", ".2f"),
    Figure("F1 of torch", "exact_f1", ".2f"),
    Figure("rows", "rows", ",.0f"),
    Figure("rows/s", "rows_per_second", ".1f"),
)


def render_card(record: ExportRecord, forms: Mapping[str, ExportForm], source: Mapping[str, Any]) -> str:
    """The card as Markdown with the metadata that the Hugging Face hub reads.

    Args:
        forms: those of the record, by their names in it.
        source: what `source_metadata` gives.
    """
    names = list(dict.fromkeys(form.name for form in record.forms))
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag="question-answering" if record.has_qa_head else "feature-extraction",
        tags=[*(["extractive-qa"] if record.has_qa_head else []), *(forms[name].name for name in names), "spanmill"],
        **{key: source.get(key) for key in _CARRIED},
    )
    environment = Environment(
        loader=PackageLoader("pipelines.export", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    figures = [one for one in FIGURES if any(one.of(form.parity) for form in record.forms)]
    return environment.get_template("card.md.j2").render(
        record=record,
        metadata=metadata.to_yaml(),
        name=record.source.rstrip("/").rpartition("/")[2],
        titles=[one.title for one in figures],
        rows=[(form, size_of(form), [one.of(form.parity) for one in figures]) for form in record.forms],
        read_by=[(name, forms[name].read_by) for name in names],
        files=[file for form in record.forms for file in form.files],
    )


def size_of(form: ExportedForm) -> str:
    """Of all files of a form, in MB."""
    return f"{sum(file.bytes for file in form.files) / 1e6:,.1f}"


def source_metadata(model: ModelParameters, folder: Path) -> dict[str, Any]:
    """What the card of an exported model says of its license, language, data and base; nothing where it has no card.

    Args:
        folder: where `find_model` found it, without the card where it is none of this machine's.
    """
    # A card is nice to have: whatever is wrong with it or its store, the model is exported.
    try:
        card = ModelCard(_card_text(model, folder))
        found = {key: value for key, value in card.data.to_dict().items() if key in _CARRIED and value}
    except Exception:
        found = {}
    if _is_hub_id(model.name):
        found["base_model"] = model.name
    return found


def _card_text(model: ModelParameters, folder: Path) -> str:
    if _is_hub_id(model.name):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(model.name, CARD, revision=model.revision)).read_text(encoding="utf-8")
    if "://" in model.name:
        fs, root = fsspec.core.url_to_fs(model.name, **model.storage)
        return bytes(fs.cat_file(f"{root.rstrip('/')}/{CARD}")).decode()
    return (folder / CARD).read_text(encoding="utf-8")


def _is_hub_id(name: str) -> bool:
    return not is_place(name) and not is_shipped(name) and not Path(name).expanduser().is_dir()
