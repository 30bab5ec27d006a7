"""Checks that a file is still the one that the job was planned with."""

from collections.abc import Mapping

from pipelines.corpus.listing import look_up, versions
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.storage.filesystem import resolve


def check_unchanged(file: SourceFile, storage: Mapping[str, object]) -> None:
    """Compares size and version with what was listed; one request.

    Raises:
        CorpusError: the file is gone, or is another.
        StorageError: the store cannot be read.
    """
    store = resolve(file.url, storage)
    store.fs.invalidate_cache()
    try:
        info = look_up(store)
    except CorpusError as error:
        raise CorpusError(
            f"{file.name}: the file is gone since the job was planned. Put it back at {file.url} as it was and run the "
            "same command again, or start anew without it: --overwrite"
        ) from error
    # A listing may name a version by another key than a look at the file itself, so any of them will do.
    now = versions(info)
    if info.get("size") != file.size or (file.version and now and file.version not in now):
        raise CorpusError(
            f"{file.name}: the file changed since the job was planned ({_shown(file.size, file.version)} then, "
            f"{_shown(info.get('size'), *now[:1])} now). Put it back at {file.url} as it was and run the same command "
            "again, or start anew with what is there now: --overwrite"
        )


def _shown(size: object, version: str = "") -> str:
    return f"{size} bytes, version {version or 'unknown'}"
