"""A check of many files from several threads, whose error names all files that fail it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError

T = TypeVar("T")

_THREADS = 16
_NAMED = 10


def for_every_file(files: Sequence[SourceFile], look: Callable[[SourceFile], T]) -> list[T]:
    """`look(file)` of every file, in order, from several threads.

    Raises:
        CorpusError: it was raised for some files; the message names the first ten, and counts them all.
    """

    def looked(file: SourceFile) -> T | CorpusError:
        try:
            return look(file)
        except CorpusError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(threads.map(looked, files))
    results = [one for one in found if not isinstance(one, CorpusError)]
    problems = [one for one in found if isinstance(one, CorpusError)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems[:_NAMED])
        more = f"\n  ... and {len(problems) - _NAMED:,} more" if len(problems) > _NAMED else ""
        raise CorpusError(
            f"{len(problems):,} of {len(files):,} files cannot be used. To leave files out, move them into a folder "
            f"whose name begins with '_'.{lines}{more}"
        )
    return results
