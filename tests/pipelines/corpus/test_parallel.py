"""What is wrong with many files is said at once."""

import pytest

from pipelines.corpus.parallel import for_every_file
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError, StorageError
from pipelines.storage.url import Url

FILES = [SourceFile(Url(f"/in/{i}.jsonl"), f"{i}.jsonl", i, "v", "jsonl", None) for i in range(30)]


def _refuse(*sizes: int) -> str:
    def look(file: SourceFile) -> None:
        if file.size in sizes:
            raise CorpusError(f"{file.name}: odd")

    with pytest.raises(CorpusError) as raised:
        for_every_file(FILES, look)
    return str(raised.value)


def test_results_keep_their_order() -> None:
    assert for_every_file(FILES, lambda file: file.size) == list(range(30))
    assert for_every_file([], lambda file: file.size) == []


def test_one_bad_file_speaks_for_itself() -> None:
    assert _refuse(17) == "17.jsonl: odd"


def test_several_bad_files_are_all_named() -> None:
    first, *lines = _refuse(3, 29, 11).splitlines()
    assert first.startswith("3 of 30 files cannot be used. To leave files out, ")
    assert lines == ["  3.jsonl: odd", "  11.jsonl: odd", "  29.jsonl: odd"]


def test_many_bad_files_are_counted() -> None:
    _, *lines = _refuse(*range(5, 30)).splitlines()
    assert lines == [*(f"  {i}.jsonl: odd" for i in range(5, 15)), "  ... and 15 more"]


def test_a_store_that_cannot_be_read_is_no_fault_of_a_file() -> None:
    def look(file: SourceFile) -> None:
        raise StorageError("away")

    with pytest.raises(StorageError, match="away"):
        for_every_file(FILES, look)
