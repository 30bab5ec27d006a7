"""The files of an exported form: where they lie, and whether they are what was exported."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from actors.backends.exported import EXPORT_RECORD, ExportedFile
from actors.backends.fingerprint import file_digest
from actors.errors import ModelError, first_line


def place_of(folder: Path, file: ExportedFile) -> Path:
    """Where a file of an exported folder lies.

    Raises:
        ModelError: the record, which may come from anybody, names a place outside of the folder.
    """
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts or not path.parts or {"\\", "\0"} & set(file.path):
        raise ModelError(f"{folder / EXPORT_RECORD}: {file.path!r} is no file below the folder; export the model again")
    return folder.joinpath(*path.parts)


def check_files(folder: Path, files: Iterable[ExportedFile]) -> None:
    """Makes sure that files are those that were exported; each is read whole, but once in a process.

    Raises:
        ModelError: one is missing, or is another; it is named.
    """
    for file in files:
        check_file(place_of(folder, file), file)


def check_file(place: Path, file: ExportedFile, name: str | None = None) -> None:
    """Makes sure that what lies at `place` is a file that was exported.

    Args:
        name: of the place, for the error.

    Raises:
        ModelError: it is missing, or another.
    """
    name = name or str(place)
    try:
        size = place.stat().st_size
        found = file_digest(place).hex() if size == file.bytes else None
    except FileNotFoundError as error:
        raise ModelError(f"{name} is missing, which {EXPORT_RECORD} lists") from error
    except OSError as error:
        raise ModelError(f"{name}: {first_line(error)}") from error
    if found is None:
        raise ModelError(f"{name} is not what was exported: it has {size:,} bytes, not {file.bytes:,}")
    if found != file.sha256.lower():
        raise ModelError(
            f"{name} is not what was exported: its SHA-256 begins with {found[:12]}, not {file.sha256[:12]}"
        )
