"""Listing the input: files, folders and globs on any store become one list of source files, sorted by name."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fsspec.utils import glob_translate

from actors.models.content_keys import CONTENT_KEYS
from pipelines.config.input_formats import FORMATS
from pipelines.config.job import CorpusParameters
from pipelines.corpus.foreign_files import advice_for
from pipelines.corpus.formats.base import InputFormat, find_format
from pipelines.corpus.input_names import LeftOut, is_hidden, reason_to_leave_out
from pipelines.corpus.source_file import Compression, SourceFile
from pipelines.errors import CorpusError, MissingError, NotThereError
from pipelines.storage.filesystem import Store, is_local, resolve
from pipelines.storage.retry import attempt
from pipelines.storage.url import Url

_MAGIC = re.compile(r"[*?[]")
_COMPRESSIONS: Mapping[str, Compression] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
# Content hashes first: they survive a copy of the file, a time of change does not.
_VERSION_KEYS = (*CONTENT_KEYS, "crc32c", "checksum", "content_md5")
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified")


@dataclass(frozen=True)
class Listing:
    """The files of a job's inputs."""

    files: tuple[SourceFile, ...]
    """Sorted by name, each once."""

    left_out: tuple[str, ...]
    """What lies there and is not read, and why, for people."""


def list_files(inputs: Sequence[str], parameters: CorpusParameters) -> tuple[SourceFile, ...]:
    """The files of `list_inputs`."""
    return list_inputs(inputs, parameters).files


def list_inputs(inputs: Sequence[str], parameters: CorpusParameters) -> Listing:
    """All files of the inputs, sorted by name, each once.

    An input is a file, a folder (with all below it, except what `input_names` leaves out), or a glob, as a path or an
    fsspec URL. http(s) has no listing, so there it is a file.

    Raises:
        NotThereError: an input is not there, or has no files.
        CorpusError: a file's format cannot be told from its name.
        StorageError: the store cannot be read.
    """
    found: dict[Url, SourceFile] = {}
    left_out = LeftOut()
    for text in inputs:
        for file in _list_input(resolve(text, parameters.storage), parameters.format, left_out):
            found.setdefault(file.url, file)
    if not found:
        raise CorpusError("no input is named. Name a file, a folder or a glob.")
    files = sorted(_uniquely_named(found.values()), key=lambda file: (file.name, file.url.with_secrets))
    return Listing(tuple(files), left_out.lines())


def _list_input(store: Store, format: str, left_out: LeftOut) -> list[SourceFile]:
    fs, root = store.fs, store.root
    fs.invalidate_cache()
    entries: Mapping[str, Mapping[str, Any]]
    if _is_pattern(store):
        base, pattern = _pattern(store)
        rest = pattern[len(base) :]
        _check_rights(store, base, recursive="**" in rest or _MAGIC.search(os.path.dirname(rest)) is not None)
        entries = attempt("listing", store.url, lambda: fs.glob(pattern, detail=True))
        problem = "no file matches this pattern"
    else:
        info = look_up(store)
        if info["type"] != "directory":
            return [_source_file(store, str(info["name"]), info, _last_name(store), format)]
        base = root
        _check_rights(store, base, recursive=True)
        entries = attempt("listing", store.url, lambda: fs.find(root, detail=True))
        problem = "the folder holds no file"
    files, out_here, suffixes = [], LeftOut(), _suffixes(format)
    for path, entry in entries.items():
        name = path[len(base) :].lstrip("/") if path.startswith(base) else path
        reason = reason_to_leave_out(name, entry.get("size"), suffixes)
        if reason:
            if entry["type"] == "file":
                out_here.add(reason, name)
                left_out.add(reason, name)
            continue
        # A listing tells of a link itself, not of what it leads to.
        info = look_up(resolve(path)) if entry.get("islink") else entry
        if info["type"] == "file":
            files.append(_source_file(store, path, info, name, format))
        elif entry.get("islink"):
            raise CorpusError(f"{path}: links to a folder, which is not followed. Name that folder as an input too.")
    if not files:
        lines = "".join(f"\n  {line}" for line in out_here.lines())
        raise NotThereError(f"{store.url}: {problem}. Check the path, or name a file.{lines}")
    return files


def matches(store: Store, path: str) -> bool:
    """Whether an input is a pattern that a file of this path of the same filesystem would be read by, were it there."""
    if not _is_pattern(store):
        return False
    base, pattern = _pattern(store)
    name = path[len(base) :].lstrip("/")
    return re.fullmatch(glob_translate(pattern), path) is not None and not reason_to_leave_out(name, None, ())


def _is_pattern(store: Store) -> bool:
    # A name may hold a bracket, and a URL of http a question mark.
    has_magic = _MAGIC.search(store.root) is not None and "http" not in store.fs.protocol
    return has_magic and not attempt("listing", store.url, lambda: bool(store.fs.exists(store.root)))


def _pattern(store: Store) -> tuple[str, str]:
    """The deepest folder that a pattern names in full, and the pattern.

    The characters of patterns stand for themselves in the names of local folders that there are.
    """
    base = os.path.dirname(_MAGIC.split(store.root, maxsplit=1)[0])
    if not is_local(store.fs):
        return base, store.root
    while name := store.root[len(base) :].lstrip("/").partition("/")[0]:
        if not os.path.isdir(deeper := os.path.join(base, name)):
            break
        base = deeper
    return base, _MAGIC.sub(lambda found: f"[{found[0]}]", base) + store.root[len(base) :]


def _last_name(store: Store) -> str:
    """A file's name; what follows a question mark is part of it but in URLs of http."""
    root = store.root.partition("?")[0] if "http" in store.fs.protocol else store.root
    return os.path.basename(root)


def _suffixes(format: str) -> tuple[str, ...]:
    """Ends of names that stand for data, whatever they begin with: a chosen format reads no fewer files than auto."""
    formats = (*_built_in().values(), *(() if format == "auto" else (find_format(format),)))
    return tuple(f"{suffix}{end}" for one in formats for suffix in one.suffixes for end in ("", *_COMPRESSIONS))


def _check_rights(store: Store, base: str, recursive: bool) -> None:
    """Raises for a folder of this machine that may not be read; fsspec would list nothing there without a word."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    def walk() -> None:
        for _, folders, _ in os.walk(base, onerror=refuse):
            folders[:] = [name for name in folders if recursive and not is_hidden(name)]

    if is_local(store.fs):
        attempt("listing", store.url, walk)


def look_up(store: Store) -> Mapping[str, Any]:
    """What a store says of one file or folder.

    Raises:
        NotThereError: there is none.
        StorageError: the store cannot be read.
    """
    try:
        info: Mapping[str, Any] = attempt("looking for", store.url, lambda: store.fs.info(store.root))
    except MissingError as error:
        raise NotThereError(
            f"{store.url}: there is no such file or folder. Check the path or URL, with its bucket."
        ) from error
    return info


def _source_file(store: Store, path: str, info: Mapping[str, Any], name: str, format: str) -> SourceFile:
    url = Url(path if is_local(store.fs) else str(store.fs.unstrip_protocol(path)))
    compression = _COMPRESSIONS.get(os.path.splitext(name.lower())[1])
    chosen = _recognised(name, compression) if format == "auto" else format
    if chosen is None:
        advice = advice_for(str(url), is_local(store.fs))
        raise CorpusError(
            f"{url}: {advice or 'the name does not tell the format'}\n"
            f"  Or leave it out by a glob (*.parquet), or say what it is whatever its name, with "
            f"corpus.format={' or '.join(FORMATS)}. Names that are known: {_known_names()}."
        )
    if info.get("size") is None:
        raise CorpusError(f"{url}: the server does not tell the size. Copy the file to a disk or an object store.")
    version = next(iter(versions(info)), "")
    whole = compression if find_format(chosen).may_be_compressed else None
    return SourceFile(url, name, int(info["size"]), version, chosen, whole)


def _recognised(name: str, compression: Compression | None) -> str | None:
    """The built-in format whose files have such names."""
    stem, last = os.path.splitext(name.lower())
    suffix = last if compression is None else os.path.splitext(stem)[1]
    for format, built_in in _built_in().items():
        if suffix in built_in.suffixes:
            return format if compression is None or built_in.may_be_compressed else None
    return None


def _built_in() -> Mapping[str, InputFormat]:
    return {name: find_format(name) for name in FORMATS}


def _known_names() -> str:
    formats = _built_in().values()
    every = ", ".join(suffix for one in formats for suffix in one.suffixes)
    compressible = ", ".join(suffix for one in formats if one.may_be_compressed for suffix in one.suffixes)
    return f"{every}, and {compressible} also with .gz or .zst"


def versions(info: Mapping[str, Any]) -> list[str]:
    """All that a store's entry says of a file's version; the first is the one that a `SourceFile` keeps."""
    found = (info.get(key) for key in (*_VERSION_KEYS, *_TIME_KEYS))
    return [str(value).strip('"') for value in found if value]


def _uniquely_named(files: Iterable[SourceFile]) -> list[SourceFile]:
    """Names that two files share are lengthened, folder by folder of their URLs, until no two are equal."""
    named = list(files)
    while shared := {name for name, count in Counter(file.name for file in named).items() if count > 1}:
        longer = [replace(file, name=_longer(file)) if file.name in shared else file for file in named]
        if longer == named:
            raise CorpusError(f"{min(shared)}: two inputs have this path. Rename one, or read them in two jobs.")
        named = longer
    return named


def _longer(file: SourceFile) -> str:
    text = str(file.url)
    parts = (text.partition("?")[0] if text.startswith("http") else text).split("/")
    return "/".join(parts[-min(len(parts), file.name.count("/") + 2) :])
