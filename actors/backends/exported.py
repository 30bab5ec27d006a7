"""The record of an exported folder, `_export.json`: which forms of the model lie in it, in which files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from actors.errors import ModelError, first_line

EXPORT_RECORD = "_export.json"
"""Its name begins with a line, so that the model's fingerprint does not follow it."""
EXPORT_VERSION = 1
"""Another number is another meaning of the fields; a field more is none."""


@dataclass(frozen=True)
class ExportedFile:
    """A file of a form."""

    path: str
    """Relative to the folder, with `/` between names."""
    bytes: int
    sha256: str
    """In hex."""


@dataclass(frozen=True)
class ExportedForm:
    """A form in one of its precisions."""

    name: str
    """As in `--formats`."""
    precision: str
    """float32, float16 or int8."""
    files: tuple[ExportedFile, ...]
    parity: Mapping[str, int | float | None] | None = None
    """The fields of `actors.export.parity.Parity`: how far it is from torch in float32. None where it was not
    measured."""

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class LeftOutForm:
    """A form that was asked for and is not in the folder."""

    name: str
    precision: str
    reason: str


@dataclass(frozen=True)
class ExportRecord:
    """What `spanmill export` wrote."""

    version: int
    """See EXPORT_VERSION."""
    fingerprint: str
    """`content_fingerprint(folder, TRANSFORMERS_WEIGHTS)` of the exported folder: of config, tokenizer and the weights
    that all forms were made from. Another one says that these were changed since, and the forms not."""
    has_qa_head: bool
    """Whether the forms give logits."""
    forms: tuple[ExportedForm, ...]
    left_out: tuple[LeftOutForm, ...] = ()
    source: str = ""
    """What was exported, as the command named it, without secrets."""
    source_fingerprint: str = ""
    """`content_fingerprint(folder, TRANSFORMERS_WEIGHTS)` of the folder that was exported."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages that wrote the forms, Spanmill's own among them."""

    def form(self, name: str, precision: str) -> ExportedForm | None:
        """A form in a precision; None where it is not in the folder."""
        return next((one for one in self.forms if (one.name, one.precision) == (name, precision)), None)


def read_export(folder: Path) -> ExportRecord | None:
    """The record of a folder; None where there is none, so that the folder is no export.

    Raises:
        ModelError: it cannot be read, or a later Spanmill wrote it in another way.
    """
    from pydantic import TypeAdapter, ValidationError

    place = folder / EXPORT_RECORD
    try:
        record = TypeAdapter(ExportRecord).validate_json(place.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"]) or "the file"
        raise ModelError(
            f"{place}: {where}: {found['msg']}; export the model again, or remove this file: the forms then count as "
            "not there"
        ) from error
    except OSError as error:
        raise ModelError(f"{place}: {first_line(error)}") from error
    if record.version > EXPORT_VERSION:
        raise ModelError(
            f"{place}: written by a later Spanmill (version {record.version} of the record, {EXPORT_VERSION} is known "
            "here); update Spanmill, or export the model again"
        )
    return record


def write_export(folder: Path, record: ExportRecord) -> None:
    """Writes the record of a folder.

    Raises:
        OSError: it cannot be written.
    """
    from pydantic import TypeAdapter

    (folder / EXPORT_RECORD).write_bytes(TypeAdapter(ExportRecord).dump_json(record, indent=1) + b"\n")
