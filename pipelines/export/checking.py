"""`spanmill export --check`: whether a folder still holds what was exported, and every form what torch computes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.exported import EXPORT_RECORD, ExportedForm, read_export
from actors.backends.exported_files import check_file, place_of
from actors.backends.fingerprint import MODEL_TEXTS, content_fingerprint
from actors.errors import ModelError
from actors.export.form import ExportTools, find_form
from actors.export.parity import Parity, ParitySample, measure_form
from actors.models.hub import find_export
from actors.parameters import ModelParameters
from pipelines.errors import MissingError
from pipelines.export.figures import FormRow, FormTable, on_rows
from pipelines.export.publishing import Say
from pipelines.export.sample import built_in_sample, read_sample
from pipelines.storage.filesystem import Store, read_bytes, resolve
from pipelines.storage.retry import attempt


@dataclass(frozen=True)
class FormCheck:
    """What was found of a form in a precision."""

    form: ExportedForm
    verdict: str
    """`kept`, `BEYOND` its tolerance, `DAMAGED`, `FAILED`, or `not run`."""
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

    @property
    def row(self) -> FormRow:
        """In the table."""
        return FormRow(self.form, self.form.name, None if self.parity is None else asdict(self.parity), self.verdict)


def check_folder(
    folder: str,
    console: Console,
    say: Say,
    tools: ExportTools,
    rows: str | None = None,
    storage: Mapping[str, object] | None = None,
) -> int:
    """Checks the files of an exported folder, runs every form in its own runtime, and prints what it found.

    Args:
        folder: a local folder, any fsspec URL, of which a copy is made for the time, or a hub id.
        say: is told what is being done.
        rows: examples as `spanmill evaluate` reads them; None takes those that come with Spanmill.
        storage: fsspec options of `folder`.

    Returns:
        The exit code: 0 where all files are whole and all forms that can be run here keep their tolerances, else 1.

    Raises:
        ModelError: there is no such folder, or it is no export.
        SpanmillError: the store or the rows cannot be read.
    """
    sample = built_in_sample() if rows is None else read_sample([rows], {})
    with _on_this_machine(folder, storage or {}, say) as local:
        record = read_export(local)
        if record is None:
            raise ModelError(f"{folder} holds no {EXPORT_RECORD}, so it is nothing that spanmill export wrote")
        damaged = [_damage(local, form) for form in record.forms]
        for line in (line for lines in damaged for line in lines):
            console.print(line, style="bold", soft_wrap=True)
        if content_fingerprint(local, TRANSFORMERS_WEIGHTS) != record.fingerprint:
            console.print(
                f"{folder}: weights, config or tokenizer are not those that were exported, so no form can be compared "
                "with them; export the model again",
                soft_wrap=True,
            )
            return 1
        found = [
            _check(f"{number} of {len(damaged)}", local, form, lines, tools, sample, say)
            for number, (form, lines) in enumerate(zip(record.forms, damaged, strict=True), 1)
        ]
    _print(found, console)
    return 0 if all(one.is_fine for one in found) else 1


@contextmanager
def _on_this_machine(folder: str, storage: Mapping[str, object], say: Say) -> Iterator[Path]:
    if "://" not in folder:
        yield find_export(ModelParameters(name=folder), "check")
        return
    with TemporaryDirectory(prefix="spanmill-check-") as place:
        _copy(resolve(folder, storage), Path(place), say)
        yield Path(place)


def _copy(store: Store, target: Path, say: Say) -> None:
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
        say(f"copying {number} of {len(wanted)}: {name}")
        _fetch(store, name, place)


def _fetch(store: Store, name: str, place: Path) -> None:
    attempt("reading", store.path(name), lambda: store.fs.get_file(store.path(name), str(place)))


def _is_of_model(name: str) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in (*MODEL_TEXTS, *TRANSFORMERS_WEIGHTS))


def _damage(folder: Path, form: ExportedForm) -> list[str]:
    """A line for every file of a form that is not what was exported."""
    lines = []
    for file in form.files:
        try:
            check_file(place_of(folder, file), file, file.path)
        except ModelError as error:
            lines.append(f"{error}; copy or download it again, or export the model again")
    return lines


def _check(
    number: str,
    folder: Path,
    exported: ExportedForm,
    damage: Sequence[str],
    tools: ExportTools,
    sample: ParitySample,
    say: Say,
) -> FormCheck:
    if damage:
        return FormCheck(exported, "DAMAGED", reason=damage[0])
    try:
        form = find_form(exported.name)
        most = form.tolerances[exported.precision]
    except ModelError as error:  # of a package that is not here
        return FormCheck(exported, "not run", reason=str(error))
    except KeyError:
        return FormCheck(exported, "not run", reason=f"this Spanmill knows no {exported.precision} of it")
    say(f"{number}: {exported.name} {exported.precision}: comparing with torch")
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
    console.print(FormTable.of([one.row for one in found]).for_screen())
    for sentence in on_rows((one.name, one.row.figures) for one in found):
        console.print(sentence, soft_wrap=True)
    for one in found:
        if one.reason:
            console.print(f"{one.name} {one.verdict}: {one.reason}", soft_wrap=True)
