"""`spanmill export`: one folder with a model in many forms, each compared with torch before it is kept."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.converted.conversion_cache import names_head
from actors.backends.exported import EXPORT_VERSION, ExportRecord, write_export
from actors.backends.fingerprint import content_fingerprint
from actors.export.form import ExportForm, ExportTools
from actors.model_config import load_config
from actors.models.hub import find_model
from actors.models.names import public_name
from actors.parameters import ModelParameters
from actors.version import installed, release
from pipelines.errors import ConfigError
from pipelines.export.assembly import Assembly, Check
from pipelines.export.card import render_card, source_metadata
from pipelines.export.choice import Choice, choose
from pipelines.export.figures import Figures, FormRow, FormTable, on_rows
from pipelines.export.publishing import Say, check_apart, published
from pipelines.export.source_card import CARD
from pipelines.storage.url import Url
from pipelines.words import counted

_CALIBRATION_ROWS = 128
"""Most of `--rows` by which activations are quantized beforehand."""
CheckedIn = Callable[[Path, Path], Check]
"""`checked_in(model, output)` gives what compares forms in `output` with the model."""


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
    as_encoder: bool = False
    """Whether the model is one without a QA head; any other is refused, and so is one without if this is False."""
    rows: str | None = None
    """Questions, passages and answers to compare on; None takes rows that come with Spanmill."""
    tools: ExportTools = field(default_factory=ExportTools)


def export(request: Request, console: Console, say: Say) -> int:
    """Writes OUTPUT, and prints what is in it.

    Args:
        console: for the result.
        say: is told what is being done.

    Returns:
        The exit code: 0, or 1 where a form that was to be written is not kept.

    Raises:
        ConfigError: OUTPUT is taken, the model has no QA head, or there is no such precision.
        ModelError: the model cannot be used, or a form that is named cannot be written.
        SpanmillError: OUTPUT cannot be written, or the rows cannot be read.
    """
    # Not before here: what compares brings torch.
    from actors.export.parity import check_form
    from pipelines.export.sample import built_in_sample, read_sample

    sample, tools = built_in_sample(), request.tools
    if request.rows is not None:
        sample = read_sample([request.rows], {})
        pairs = zip(sample.questions, sample.passages, strict=True)
        tools = replace(tools, calibration=tuple(pairs)[:_CALIBRATION_ROWS])

    def checked_in(model: Path, output: Path) -> Check:
        def check(form: ExportForm, precision: str) -> Figures:
            return asdict(check_form(form, output, precision, tools, sample, original=model))

        return check

    return export_with(replace(request, tools=tools), checked_in, console, say)


def export_with(request: Request, checked_in: CheckedIn, console: Console, say: Say) -> int:
    """As `export`, with another comparison.

    Args:
        checked_in: called with the model's folder and that which is written.
    """
    folder = find_model(request.model)
    check_apart(folder, request.output, request.storage)
    with_qa_head = names_head(folder)
    _check_head(request, with_qa_head)
    choice = choose(request.formats, request.precisions, request.tools, folder, load_config(folder).model_type)
    for line in choice.left_out:
        say(f"left out: {line}")
    metadata = source_metadata(request.model, folder)
    with published(request.output, request.storage, request.overwrite, say) as output:
        assembly = Assembly(folder, output, with_qa_head, request.tools, checked_in(folder, output), say)
        forms, left_out = assembly.write(choice.steps)
        record = ExportRecord(
            version=EXPORT_VERSION,
            fingerprint=content_fingerprint(output, TRANSFORMERS_WEIGHTS),
            has_qa_head=with_qa_head,
            forms=forms,
            left_out=left_out,
            source=public_name(str(Url(request.model.name))),
            source_fingerprint=content_fingerprint(folder, TRANSFORMERS_WEIGHTS),
            versions=_versions(choice),
        )
        by_name = {step.name: step.form for step in choice.steps}
        (output / CARD).write_text(render_card(record, by_name, metadata), encoding="utf-8")
        write_export(output, record)
    _show(record, request, console)
    return 1 if left_out else 0


def _check_head(request: Request, with_qa_head: bool) -> None:
    """Raises ConfigError where forms would give other outputs than those that are expected."""
    name = Url(request.model.name)
    if not with_qa_head and not request.as_encoder:
        raise ConfigError(
            f"MODEL: the config of {name} names no QA head, so it finds no answers; name a model that was fine-tuned "
            "for question answering, or give --encoder to export it for embeddings: its forms give last_hidden_state "
            "alone"
        )
    if with_qa_head and request.as_encoder:
        raise ConfigError(f"--encoder: {name} has a QA head, and its forms give last_hidden_state, too; leave it out")


def _versions(choice: Choice) -> dict[str, str]:
    packages = ["torch", "transformers", *(package for step in choice.steps for package in step.form.packages)]
    # Not of a module whose distribution has another name.
    found = {package: number for package in packages if (number := installed(package)) is not None}
    return {"spanmill": release(), **found}


def _show(record: ExportRecord, request: Request, console: Console) -> None:
    rows = [FormRow(form, form.name, form.parity) for form in record.forms]
    console.print(FormTable.of(rows).for_screen())
    for sentence in on_rows((f"{row.name} {row.form.precision}", row.figures) for row in rows):
        console.print(sentence, soft_wrap=True)
    for one in record.left_out:
        console.print(f"not kept: {one.name} in {one.precision}: {one.reason}", soft_wrap=True)
    console.print(f"{counted(len(record.forms), 'form')} in {Url(request.output)}", soft_wrap=True)
