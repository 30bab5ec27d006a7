"""Files that are not what was listed: gone, replaced, or changed while they are read."""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config.job import CorpusParameters
from pipelines.corpus.file_version import check_unchanged
from pipelines.corpus.listing import list_files
from pipelines.errors import CorpusError
from pipelines.rows.shard_reader import read_unit
from pipelines.storage.filesystem import resolve, write_atomic
from tests.pipelines.helpers import compressed, jsonl, plan_of, qa_rows, read_all
from tests.pipelines.s3_server import S3Server


def _write(path: Path, count: int = 40) -> Path:
    rows = qa_rows(count)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    else:
        path.write_bytes(compressed(jsonl(rows), "gzip" if path.suffix == ".gz" else None))
    return path


def _shorter(path: Path) -> None:
    _write(path, 30)


def _touched(path: Path) -> None:
    os.utime(path, (1, 1))


def _gone(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


NAMES = ("a.parquet", "a.jsonl", "a.jsonl.gz")
SPOILED = [(_shorter, "changed"), (_touched, "changed"), (_gone, "is gone"), (_folder, "changed")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_a_file_that_is_another_than_the_planned_one(
    tmp_path: Path, name: str, spoil: Callable[[Path], None], words: str
) -> None:
    plan = plan_of(_write(tmp_path / name))
    spoil(tmp_path / name)
    with pytest.raises(CorpusError, match=rf"^{name}: the file {words} since .* Put it back at .*{name} .*--overwrite"):
        read_all(plan)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_no_shard_comes_of_a_file_that_changes_halfway(
    tmp_path: Path, name: str, spoil: Callable[[Path], None], words: str
) -> None:
    plan = plan_of(_write(tmp_path / name), shard_rows=15)
    shards = read_unit(plan.files[0], plan.units[0], plan.layout, {})
    assert len(next(shards).table) == 15
    spoil(tmp_path / name)
    with pytest.raises(CorpusError, match=words):
        next(shards)


def test_the_same_file_behind_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    real = _write(tmp_path / "real.jsonl")
    (tmp_path / "in" / "a.jsonl").symlink_to(real)
    (file,) = list_files([str(tmp_path / "in")], CorpusParameters())
    check_unchanged(file, {})
    _touched(real)
    with pytest.raises(CorpusError, match="changed"):
        check_unchanged(file, {})


def test_an_objects_content_counts_on_s3(s3: S3Server, tmp_path: Path) -> None:
    folder = resolve("s3://bucket/in", s3.options)
    parameters = CorpusParameters(storage=s3.options)
    for name in NAMES:
        copyfile(_write(tmp_path / name), tmp_path / "same")
        write_atomic(folder.fs, folder.path(name), (tmp_path / "same").read_bytes())
    for file in list_files(["s3://bucket/in"], parameters):
        check_unchanged(file, s3.options)
        data = folder.fs.cat_file(folder.path(file.name))
        write_atomic(folder.fs, folder.path(file.name), data[:-1] + b"!")
        with pytest.raises(CorpusError, match=rf"{file.name}: the file changed .*{len(data)} bytes, version \w+ then"):
            check_unchanged(file, s3.options)
        folder.fs.rm(folder.path(file.name))
        with pytest.raises(CorpusError, match=rf"{file.name}: the file is gone"):
            check_unchanged(file, s3.options)
