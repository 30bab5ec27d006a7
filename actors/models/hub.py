"""Finds or downloads the folder of a model, and computes the fingerprint of what is in it."""

import hashlib
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import Any

import fsspec

from actors.backends.base import find_runtime
from actors.backends.exported import ExportedFile, read_export
from actors.backends.exported_files import check_file, place_of
from actors.backends.fingerprint import MODEL_TEXTS, content_fingerprint
from actors.backends.precision import EXACT
from actors.cache import cache_folder, make_folder
from actors.errors import ModelError, NoModelError, first_line
from actors.models.content_keys import CONTENT_KEYS
from actors.models.names import SHIPPED, SHIPPED_NAMES, is_place
from actors.models.precision import with_precision
from actors.parameters import ModelParameters

_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
"""Where there is one of them, transformers reads no weights of another kind."""
_SHIPPED = Path(__file__).parent / SHIPPED
"""The model that comes with the package: in the repository, a link to the folder in models/."""


def find_model(parameters: ModelParameters, key: str = "model") -> Path:
    """The folder of a model, downloaded first where it is not local.

    `minilm-qa` and `models/minilm-qa` are the model that comes with the package, unless there is a folder of that name.
    A hub id goes through the hub's own cache. A URL is copied once into `$XDG_CACHE_HOME/spanmill/models`. Of a folder
    that `spanmill export` wrote, the form that the runtime reads is fetched too, and no other.

    Args:
        key: the group of the config that names the model, for errors.

    Raises:
        NoModelError: there is no such folder, hub id or URL.
        ModelError: it cannot be read, or holds no config.json, or there is no such runtime.
    """
    name, weights = parameters.name, find_runtime(parameters.backend).weights
    if "://" in name:
        folder = _copy_from_url(name, parameters.storage, weights, key)
        _fetch(parameters, folder, _missing(folder, _files_to_load(folder, parameters)), key)
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser().resolve()
    elif name in SHIPPED_NAMES:
        folder = _SHIPPED.resolve()
    elif is_place(name):
        raise NoModelError(f"{key}.name: there is no folder {name}; name another with --{key}")
    else:
        folder = _download_weights(name, parameters.revision, weights, key)
        _fetch(parameters, folder, _missing(folder, _files_to_load(folder, parameters)), key)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{key}.name: {name} holds no config.json, so it is not a transformers model folder")
    return folder


def find_export(parameters: ModelParameters, key: str = "model") -> Path:
    """As `find_model`, with the files of all forms that `spanmill export` put beside the weights.

    Raises:
        NoModelError: there is no such folder, hub id or URL.
        ModelError: it cannot be read, or holds no config.json.
    """
    folder = find_model(parameters, key)
    record = read_export(folder)
    files = [] if record is None else [file for form in record.forms for file in form.files]
    _fetch(parameters, folder, _missing(folder, files), key)
    return folder


def is_shipped(name: str) -> bool:
    """Whether `find_model` takes this name, or this folder, for the model that comes with the package."""
    folder = Path(name).expanduser()
    return folder.resolve() == _SHIPPED.resolve() if folder.is_dir() else name in SHIPPED_NAMES


def is_hub_id(name: str) -> bool:
    """Whether a model's name is that of a repository of the hub."""
    return not is_place(name) and not is_shipped(name) and not Path(name).expanduser().is_dir()


def from_anywhere(name: str) -> str:
    """A name by which workers find a model, since those of a running cluster run in other folders or machines.

    That of a local folder is its absolute path. The model that comes with the package goes by its name also where it is
    named by its folder: workers have it beside their code.
    """
    folder = Path(name).expanduser()
    if folder.is_dir() and is_shipped(name):
        return SHIPPED
    return str(folder.resolve()) if folder.is_dir() else name


def fingerprint(folder: Path, backend: str) -> str:
    """SHA-256, in hex, over the names and bytes of the files that decide what the model computes.

    Args:
        backend: as in `model.backend`; weights that this runtime does not read do not count.

    Raises:
        ModelError: there is no such runtime.
    """
    return content_fingerprint(folder, find_runtime(backend).weights)


def _files_to_load(folder: Path, parameters: ModelParameters) -> Sequence[ExportedFile]:
    """Files of the exported form that the runtime reads; none where the folder is no export, or has no such form."""
    runtime = find_runtime(parameters.backend)
    if runtime.exported is None or (record := read_export(folder)) is None:
        return ()
    try:
        dtype = with_precision(folder, parameters).dtype or EXACT
    except ModelError:
        return ()  # loading it says so, too
    form = record.form(runtime.exported, dtype)
    return () if form is None else form.files


def _missing(folder: Path, files: Sequence[ExportedFile]) -> list[ExportedFile]:
    return [file for file in files if not place_of(folder, file).is_file()]


def _fetch(parameters: ModelParameters, folder: Path, files: Sequence[ExportedFile], key: str) -> None:
    """Adds files of an exported folder to the copy of its weights; nothing where the folder is no copy."""
    name = parameters.name
    if not files or Path(name).expanduser().is_dir() or is_shipped(name):
        return
    if "://" in name:
        _add_from_url(name, parameters.storage, folder, files, key)
    else:
        # The copy is named by its commit: its branch may have moved on meanwhile.
        _download_from_hub(name, folder.name, [escape(file.path) for file in files], key)


def _download_weights(name: str, revision: str | None, weights: Sequence[str], key: str) -> Path:
    """Config, tokenizer and weights, but no others beside the safetensors that transformers reads."""
    folder = _download_from_hub(name, revision, (*weights[:1], *MODEL_TEXTS), key)
    read = _read_of(weights, [path.name for path in folder.glob("*")])
    return folder if read == weights[:1] else _download_from_hub(name, revision, (*read, *MODEL_TEXTS), key)


def _read_of(weights: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """Patterns of the weights that are read in a folder of these names."""
    reads_safetensors = any(fnmatch(_SAFETENSORS[0], pattern) for pattern in weights[:1])
    return weights[:1] if reads_safetensors and not set(_SAFETENSORS).isdisjoint(names) else weights


def _download_from_hub(name: str, revision: str | None, patterns: Sequence[str], key: str) -> Path:
    """Files that match a pattern.

    The hub's client takes `*` for folders, too: without a pattern that names a folder, none below one is meant.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        ignored = None if any("/" in pattern for pattern in patterns) else "*/*"
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns), ignore_patterns=ignored))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        # Without the network nobody knows whether there is such a model.
        is_wrong = isinstance(error, RepositoryNotFoundError | RevisionNotFoundError | HFValidationError)
        raise (NoModelError if is_wrong else ModelError)(
            f"{key}.name: {name} is neither a local folder nor a hub id that could be downloaded: {first_line(error)}"
        ) from error


def _copy_from_url(url: str, storage: dict[str, object], weights: Sequence[str], key: str) -> Path:
    try:
        fs, root = fsspec.core.url_to_fs(url, **storage)
        listing = _files_at(fs, root)
    except Exception as error:  # every fsspec implementation raises its own kind
        raise ModelError(f"{key}.name: {url} cannot be read: {first_line(error)}") from error
    names = {path: path.removeprefix(root).strip("/") for path in listing}
    patterns = (*_read_of(weights, list(names.values())), *MODEL_TEXTS)
    wanted = {path for path, name in names.items() if "/" not in name and any(fnmatch(name, p) for p in patterns)}
    if not wanted:
        raise NoModelError(f"{key}.name: {url} holds no model files")
    identity = hashlib.sha256(repr((url, sorted((p, _version(listing[p])) for p in wanted))).encode()).hexdigest()[:16]
    target = cache_folder("models") / identity
    if not target.is_dir():

        def copy(partial: Path) -> None:
            for path in sorted(wanted):
                fs.get_file(path, str(partial / Path(path).name))

        try:
            make_folder(target, copy)
        except Exception as error:
            raise ModelError(f"{key}.name: {url} cannot be copied: {first_line(error)}") from error
    return target


def _files_at(fs: fsspec.AbstractFileSystem, root: str) -> dict[str, dict[str, Any]]:
    """What a store says of each file of a folder, by path; empty where there is no such folder."""
    try:
        # Not `find`, which takes a store that does not answer in time for an empty one.
        entries = fs.ls(root, detail=True)
    except FileNotFoundError:
        return {}
    # Links are neither files nor directories.
    return {str(entry["name"]): entry for entry in entries if entry["type"] != "directory"}


def _add_from_url(url: str, storage: dict[str, object], folder: Path, files: Sequence[ExportedFile], key: str) -> None:
    """Adds files to a copy, each of which is there whole or not at all."""
    for file in files:
        place = place_of(folder, file)
        try:
            fs, root = fsspec.core.url_to_fs(url, **storage)
            place.parent.mkdir(parents=True, exist_ok=True)
            # Beside the copies: what a killed process leaves there is removed after a day.
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as partial:
                written = Path(partial) / place.name
                fs.get_file(f"{root.rstrip('/')}/{file.path}", str(written))
                check_file(written, file, f"{key}.name: {url}/{file.path}")
                written.replace(place)
        except ModelError:
            raise
        except Exception as error:  # every fsspec implementation raises its own kind
            raise ModelError(
                f"{key}.name: {url}/{file.path} cannot be copied: {first_line(error)}; export the model "
                "again, or set model.backend: torch"
            ) from error


def _version(info: dict[str, object]) -> str:
    """What any of the stores says about a file's version: S3, GCS, Azure, HTTP, the hub, a disk, memory."""
    times = ("mtime", "created", "LastModified", "Last-Modified", "last_modified")
    return repr([info.get(key) for key in ("size", *CONTENT_KEYS, *times)])
