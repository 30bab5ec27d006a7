"""`spanmill export --check`: whether a folder still holds what was exported, and every form what torch computes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.exported import EXPORT_RECORD, ExportedForm, ExportRecord, read_export
from actors.backends.exported_files import check_file, place_of
from actors.backends.fingerprint import MODEL_TEXTS, content_fingerprint
from actors.errors import ModelError
from actors.export.form import ExportTools, find_form
from actors.export.parity import Parity, ParitySample, measure_form
from actors.models.hub import find_export
from actors.parameters import ModelParameters
from pipelines.errors import MissingError
from pipelines.export.sample import built_in_sample, read_sample
from pipelines.storage.filesystem import Store, read_bytes, resolve
from pipelines.storage.retry import attempt
from pipelines.words import counted

_COLUMNS = ("form", "MB", "hidden states", "logits", "one logit", "equal spans", "F1", "cosine", "rows/s", "tolerance")


@dataclass(frozen=True)
class FormCheck:
    """What was found of a form in a precision."""

    form: ExportedForm
    verdict: str
    """`kept`, `BEYOND`, `DAMAGED`, `FAILED`, or `not run`."""
    parity: Parity | None = None
    """None where it was not run, or could not be computed."""
    reason: str = ""
    """Why it is not kept, or was not run."""

    @property
    def is_fine(self) -> bool:
        """Whether nothing is wrong that could be seen here."""
        return self.verdict in ("kept", "not run")

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.form.name} {self.form.precision}"


def check_folder(
    folder: str,
    console: Console,
    tools: ExportTools,
    rows: int | None = None,
    data: Sequence[str] = (),
    storage: Mapping[str, object] | None = None,
) -> int:
    """Checks the files of an exported folder, runs every form in its own runtime, and prints what it found.

    Args:
        folder: a local folder, any fsspec URL, of which a copy is made for the time, or a hub id.
        rows: most rows of the sample; None takes all.
        data: examples as `spanmill evaluate` reads them; none takes those that come with the package.
        storage: fsspec options of `folder` and `data`.

    Returns:
        The exit code: 0 where all files are whole and all forms that can be run here keep their tolerances, else 1.

    Raises:
        ModelError: there is no such folder, or it is no export.
        SpanmillError: the store or the data cannot be read.
    """
    options = dict(storage or {})
    sample = read_sample(data, options, rows) if data else built_in_sample(rows)
    with _on_this_machine(folder, options, console) as local:
        record = read_export(local)
        if record is None:
            raise ModelError(f"{folder} holds no {EXPORT_RECORD}, so it is nothing that spanmill export wrote")
        damaged = list(_damaged(local, record))
        is_changed = content_fingerprint(local, TRANSFORMERS_WEIGHTS) != record.fingerprint
        found = [] if is_changed else list(_checks(local, record, tools, sample, console))
    for line in damaged:
        console.print(line, style="bold")
    if is_changed:
        console.print(
            f"{folder}: weights, config or tokenizer are not those that were exported, so no form can be compared with "
            "them; export the model again"
        )
        return 1
    _print(found, console)
    return 0 if not damaged and all(one.is_fine for one in found) else 1


@contextmanager
def _on_this_machine(folder: str, storage: dict[str, object], console: Console) -> Iterator[Path]:
    if "://" not in folder:
        yield find_export(ModelParameters(name=folder), "folder")
        return
    with TemporaryDirectory(prefix="spanmill-check-") as place:
        _copy(resolve(folder, storage), Path(place), console)
        yield Path(place)


def _copy(store: Store, target: Path, console: Console) -> None:
    """What its record lists, and the model beside that; never a copy that was kept, which may be better."""
    try:
        (target / EXPORT_RECORD).write_bytes(read_bytes(store.fs, store.path(EXPORT_RECORD)))
    except MissingError as error:
        raise ModelError(
            f"{store.url} holds no {EXPORT_RECORD}, so it is nothing that spanmill export wrote"
        ) from error
    record = read_export(target)
    listed = {file.path: file for form in record.forms for file in form.files} if record is not None else {}
    paths = attempt("listing", str(store.url), lambda: [str(path) for path in store.fs.find(store.root)])
    names = [path.removeprefix(store.root).strip("/") for path in paths]
    wanted = [name for name in names if name in listed or (name != EXPORT_RECORD and _is_of_model(name))]
    for number, name in enumerate(wanted, 1):
        place = place_of(target, listed[name]) if name in listed else target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with console.status(f"copying {number} of {len(wanted)}: {name}"):
            _fetch(store, name, place)


def _fetch(store: Store, name: str, place: Path) -> None:
    attempt("reading", store.path(name), lambda: store.fs.get_file(store.path(name), str(place)))


def _is_of_model(name: str) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in (*MODEL_TEXTS, *TRANSFORMERS_WEIGHTS))


def _damaged(folder: Path, record: ExportRecord) -> Iterator[str]:
    """A line for every file that is not what was exported."""
    for form in record.forms:
        for file in form.files:
            try:
                check_file(place_of(folder, file), file, file.path)
            except ModelError as error:
                yield f"{error}; copy or download it again, or export the model again"


def _checks(
    folder: Path, record: ExportRecord, tools: ExportTools, sample: ParitySample, console: Console
) -> Iterator[FormCheck]:
    with console.status("computing in torch, in float32"):
        sample.exact(folder, tools.threads)
    for number, form in enumerate(record.forms, 1):
        with console.status(f"{number} of {len(record.forms)}: {form.name} {form.precision}"):
            yield _check(folder, form, tools, sample)


def _check(folder: Path, exported: ExportedForm, tools: ExportTools, sample: ParitySample) -> FormCheck:
    for file in exported.files:
        try:
            check_file(place_of(folder, file), file, file.path)
        except ModelError as error:
            return FormCheck(exported, "DAMAGED", reason=str(error))
    try:
        form = find_form(exported.name)
        most = form.tolerances[exported.precision]
    except ModelError as error:  # of a package that is not here
        return FormCheck(exported, "not run", reason=str(error))
    except KeyError:
        return FormCheck(exported, "not run", reason=f"this Spanmill knows no {exported.precision} of it")
    try:
        parity = measure_form(form, folder, exported.precision, tools, sample)
    except ModelError as error:
        # Reading it may take fewer packages than writing it, so it was tried.
        if lacks := form.lacking(tools):
            return FormCheck(exported, "not run", reason=lacks)
        return FormCheck(exported, "FAILED", reason=str(error))
    if parity.deviation.exceeds(most):
        return FormCheck(exported, "BEYOND", parity, f"{parity.deviation}; allowed are {most}")
    return FormCheck(exported, "kept", parity)


def _print(found: Sequence[FormCheck], console: Console) -> None:
    table = Table(box=None)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in (_COLUMNS[0], _COLUMNS[-1]) else "right")
    for one in found:
        table.add_row(one.name, *_figures(one), one.verdict)
    console.print(table)
    rows = max((one.parity.rows for one in found if one.parity is not None), default=0)
    exact = next((one.parity.exact_f1 for one in found if one.parity and one.parity.rows == rows), None)
    if rows:
        told = "" if exact is None else f"; F1 of torch in float32: {exact:.1f}"
        console.print(f"compared with torch in float32 on twelve windows and {counted(rows, 'row')}{told}")
    for one in found:
        if one.parity is not None and 0 < one.parity.rows < rows:
            own = "" if one.parity.exact_f1 is None else f", of which torch's F1 is {one.parity.exact_f1:.1f}"
            console.print(f"{one.name}: on {counted(one.parity.rows, 'row')} only, since it is slow{own}")
        if one.reason:
            console.print(f"{one.name} {one.verdict}: {one.reason}")


def _figures(one: FormCheck) -> list[str]:
    size, parity = f"{sum(file.bytes for file in one.form.files) / 1e6:,.1f}", one.parity
    if parity is None:
        return [size, *[""] * (len(_COLUMNS) - 3)]
    shown = (
        (parity.hidden, ".2g"),
        (parity.logits, ".2g"),
        (parity.largest_logit, ".2g"),
        (parity.equal_spans, ".3f"),
        (parity.f1, ".1f"),
        (parity.least_cosine, ".6f"),
        (parity.rows_per_second, ",.1f"),
    )
    return [size, *("" if value is None else format(value, style) for value, style in shown)]
