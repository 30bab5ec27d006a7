"""`spanmill export`: one folder with a model in many forms, each compared with torch before it is kept."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.converted.conversion_cache import names_head
from actors.backends.exported import EXPORT_VERSION, ExportRecord, write_export
from actors.backends.fingerprint import content_fingerprint
from actors.export.form import ExportForm, ExportTools
from actors.model_config import load_config
from actors.models.hub import find_model
from actors.parameters import ModelParameters
from actors.version import release
from pipelines.errors import ConfigError
from pipelines.export.assembly import Assembly, Check, Figures
from pipelines.export.card import CARD, FIGURES, render_card, size_of, source_metadata
from pipelines.export.choice import Choice, choose
from pipelines.export.publishing import Say, local_target, published
from pipelines.storage.url import Url
from pipelines.words import counted

_ROWS = 400
"""Most of `--rows` that forms are compared on."""
CheckedIn = Callable[[Path], Check]
"""Gives what compares the forms in a folder."""


@dataclass(frozen=True)
class Request:
    """What is to be exported."""

    model: ModelParameters
    """Its name, revision and storage."""
    output: str
    """A local folder, any fsspec URL, or `hf://user/name`."""
    storage: Mapping[str, object] = field(default_factory=dict)
    """fsspec options of `output`."""
    formats: tuple[str, ...] = ()
    """None takes all that can be written here."""
    precisions: tuple[str, ...] = ()
    """None takes all that each form has."""
    overwrite: bool = False
    rows: str | None = None
    """Questions, passages and answers to compare on; None takes rows that come with Spanmill."""
    tools: ExportTools = ExportTools()


def export(request: Request, console: Console, notes: Console) -> int:
    """Writes OUTPUT, and prints what is in it.

    Args:
        console: for the result.
        notes: for progress.

    Returns:
        The exit code: 0, or 1 where a form that was to be written is not kept.

    Raises:
        ConfigError: OUTPUT is taken, or there is no such precision.
        ModelError: the model cannot be used, or a form that is named cannot be written.
        StorageError: OUTPUT cannot be written.
    """
    # Not before here: what compares brings torch.
    from actors.export.parity import check_form
    from pipelines.export.sample import built_in_sample, read_sample

    def say(text: str) -> None:
        notes.print(text, style="dim", soft_wrap=True)

    sample = built_in_sample() if request.rows is None else read_sample([request.rows], {}, _ROWS)

    def checked_in(output: Path) -> Check:
        def check(form: ExportForm, precision: str) -> Figures:
            return asdict(check_form(form, output, precision, request.tools, sample))

        return check

    return export_with(request, checked_in, console, say)


def export_with(request: Request, checked_in: CheckedIn, console: Console, say: Say) -> int:
    """As `export`, with another comparison.

    Args:
        checked_in: called with the folder that is written.
    """
    folder = find_model(request.model)
    _check_apart(folder, request.output)
    with_qa_head = names_head(folder)
    choice = choose(request.formats, request.precisions, request.tools, folder, load_config(folder).model_type)
    _explain(choice, request, with_qa_head, say)
    metadata = source_metadata(request.model, folder)
    with published(request.output, request.storage, request.overwrite, say) as output:
        assembly = Assembly(folder, output, with_qa_head, request.tools, checked_in(output), say)
        forms, left_out = assembly.write(choice.steps)
        record = ExportRecord(
            version=EXPORT_VERSION,
            fingerprint=content_fingerprint(output, TRANSFORMERS_WEIGHTS),
            has_qa_head=with_qa_head,
            forms=forms,
            left_out=left_out,
            source=str(Url(request.model.name)),
            source_fingerprint=content_fingerprint(folder, TRANSFORMERS_WEIGHTS),
            versions=_versions(choice),
        )
        by_name = {step.name: step.form for step in choice.steps}
        (output / CARD).write_text(render_card(record, by_name, metadata), encoding="utf-8")
        write_export(output, record)
    _show(record, request, console)
    return 1 if left_out else 0


def _check_apart(folder: Path, output: str) -> None:
    """Raises ConfigError where the model would be removed with what is in OUTPUT."""
    target, model = local_target(output), folder.resolve()
    if target is not None and (target == model or target in model.parents):
        raise ConfigError(f"OUTPUT: {target} is, or holds, the model that is exported ({model}); name another folder")


def _explain(choice: Choice, request: Request, with_qa_head: bool, say: Say) -> None:
    for line in choice.left_out:
        say(f"left out: {line}")
    if not with_qa_head:
        say(
            f"{Url(request.model.name)}: its config names no QA head, so that it is exported as an encoder: its forms give "
            "last_hidden_state, and no logits"
        )


def _versions(choice: Choice) -> dict[str, str]:
    packages = ["torch", "transformers", *(package for step in choice.steps for package in step.form.packages)]
    found = {"spanmill": release()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # a module whose distribution has another name
    return found


def _show(record: ExportRecord, request: Request, console: Console) -> None:
    figures = [one for one in FIGURES if any(one.of(form.parity) for form in record.forms)]
    table = Table("form", "precision", "MB", *(one.title for one in figures), box=None)
    for form in record.forms:
        table.add_row(form.name, form.precision, size_of(form), *(one.of(form.parity) for one in figures))
    console.print(table)
    for one in record.left_out:
        console.print(f"not kept: {one.name} in {one.precision}: {one.reason}", soft_wrap=True)
    console.print(f"{counted(len(record.forms), 'form')} in {Url(request.output)}", soft_wrap=True)
