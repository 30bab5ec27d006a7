"""Inputs become one ordered list of files."""

import os
from pathlib import Path

import pytest

from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files, list_inputs
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.storage.filesystem import resolve
from pipelines.storage.range_reader import read_range
from pipelines.storage.url import Url

DEFAULTS = CorpusParameters()


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def _names(files: tuple[SourceFile, ...]) -> list[str]:
    return [file.name for file in files]


def test_a_file(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jsonl")
    (file,) = list_files([str(tmp_path / "a.jsonl")], DEFAULTS)
    mtime = str(os.stat(tmp_path / "a.jsonl").st_mtime)
    assert file == SourceFile(Url(str(tmp_path / "a.jsonl")), "a.jsonl", 7, mtime, "jsonl", None)


def test_a_folder_is_listed_with_all_below_it(tmp_path: Path) -> None:
    _touch(
        tmp_path, "b.parquet", "x/a.jsonl.gz", "x/_SUCCESS", "_quarantine/c.parquet", ".hidden/d.jsonl", "a.ndjson.zst"
    )
    files = list_files([str(tmp_path)], DEFAULTS)
    assert _names(files) == ["a.ndjson.zst", "b.parquet", "x/a.jsonl.gz"]
    assert [(file.format, file.compression) for file in files] == [
        ("jsonl", "zstd"),
        ("parquet", None),
        ("jsonl", "gzip"),
    ]


def test_a_folder_whose_own_path_is_hidden(tmp_path: Path) -> None:
    _touch(tmp_path, "_in/a.jsonl")
    assert _names(list_files([str(tmp_path / "_in")], DEFAULTS)) == ["a.jsonl"]


def test_a_glob(tmp_path: Path) -> None:
    _touch(tmp_path, "x/1.parquet", "x/2.parquet", "x/readme.md", "y/1.parquet")
    assert _names(list_files([f"{tmp_path}/x/*.parquet"], DEFAULTS)) == ["1.parquet", "2.parquet"]
    assert _names(list_files([f"{tmp_path}/**/1.parquet"], DEFAULTS)) == ["x/1.parquet", "y/1.parquet"]


def test_a_bracket_in_a_name_is_no_pattern(tmp_path: Path) -> None:
    _touch(tmp_path, "a[1].jsonl")
    assert _names(list_files([str(tmp_path / "a[1].jsonl")], DEFAULTS)) == ["a[1].jsonl"]


def test_a_file_named_twice_is_read_once_and_order_does_not_matter(tmp_path: Path) -> None:
    _touch(tmp_path, "b.jsonl", "a.jsonl")
    inputs = [str(tmp_path / "b.jsonl"), f"file://{tmp_path}/b.jsonl", str(tmp_path / "a.jsonl")]
    assert _names(list_files(inputs, DEFAULTS)) == ["a.jsonl", "b.jsonl"]
    assert list_files(inputs, DEFAULTS) == list_files(inputs[::-1], DEFAULTS)


def test_equal_names_are_lengthened(tmp_path: Path) -> None:
    _touch(tmp_path, "p/x/a.jsonl", "q/x/a.jsonl", "q/x/b.jsonl")
    files = list_files([str(tmp_path / "p/x"), str(tmp_path / "q/x")], DEFAULTS)
    assert _names(files) == ["b.jsonl", "p/x/a.jsonl", "q/x/a.jsonl"]


def test_the_format_can_be_told(tmp_path: Path) -> None:
    _touch(tmp_path, "data.txt", "more.txt.gz")
    files = list_files([str(tmp_path)], CorpusParameters(format="jsonl"))
    assert [(file.format, file.compression) for file in files] == [("jsonl", None), ("jsonl", "gzip")]


@pytest.mark.parametrize("format", ["auto", "jsonl", "json", "tests.pipelines.corpus.formats.tab_separated:TSV"])
def test_a_chosen_format_leaves_out_no_file_that_auto_reads(tmp_path: Path, format: str) -> None:
    _touch(tmp_path, "authors.json", "books.json", "notice.json.gz", "README.md", "license.txt")
    listing = list_inputs([str(tmp_path)], CorpusParameters(format=format))
    assert _names(listing.files) == ["authors.json", "books.json", "notice.json.gz"]
    assert "README.md" in "".join(listing.left_out)


def test_memory_urls() -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/test_corpus/in/a.jsonl", b"{}")
    (file,) = list_files(["memory://test_corpus/in"], DEFAULTS)
    assert (file.name, file.size) == ("a.jsonl", 2)
    assert str(file.url).startswith("memory://")


@pytest.mark.parametrize(
    ("input", "words"),
    [
        ("none.jsonl", "there is no such file or folder"),
        ("empty", "holds no file"),
        ("*.parquet", "no file matches"),
        ("odd.csv", "CSV is not read; make Parquet of it: .*\n.*corpus.format=parquet or jsonl"),
        ("odd.parquet.gz", "does not tell the format"),
    ],
)
def test_errors_name_the_input_and_the_mend(tmp_path: Path, input: str, words: str) -> None:
    _touch(tmp_path, "odd.csv", "odd.parquet.gz", "empty/_log.jsonl")
    with pytest.raises(CorpusError, match=words) as raised:
        list_files([str(tmp_path / input)], DEFAULTS)
    assert str(tmp_path) in str(raised.value)


def test_no_input() -> None:
    with pytest.raises(CorpusError, match="no input is named"):
        list_files([], DEFAULTS)


def test_links_are_followed_and_never_left_out_silently(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "blob").write_bytes(b"{}\n{}\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").symlink_to(tmp_path / "real" / "blob")
    [file] = list_files([str(tmp_path / "in")], CorpusParameters())
    assert (file.name, file.size) == ("a.jsonl", 6)
    (tmp_path / "in" / "more").symlink_to(tmp_path / "real")
    with pytest.raises(CorpusError, match="links to a folder"):
        list_files([str(tmp_path / "in")], CorpusParameters())
    (tmp_path / "in" / "more").unlink()
    (tmp_path / "in" / "b.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(CorpusError, match=r"b.jsonl: there is no such file"):
        list_files([str(tmp_path / "in")], CorpusParameters())


ODD_NAMES = ("what is it?.jsonl", "a*b.jsonl", "a[1].jsonl", "a::b.jsonl", "a#b.jsonl", "zip::c.jsonl", "100%.jsonl")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_characters_of_patterns_and_urls_in_local_names(tmp_path: Path, name: str) -> None:
    _touch(tmp_path, name)
    [file] = list_files([str(tmp_path / name)], DEFAULTS)
    assert (file.name, file.url) == (name, Url(str(tmp_path / name)))
    assert [again.name for again in list_files([f"file://{tmp_path / name}"], DEFAULTS)] == [name]
    assert read_range(resolve(file.url).fs, resolve(file.url).root, 0, file.size) == name.encode()


def test_odd_names_in_a_folder_and_in_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "what? [all]::of # it*"
    _touch(folder, *ODD_NAMES, "x/a[1].jsonl", "x/a[1].txt")
    assert _names(list_files([str(folder)], CorpusParameters(format="jsonl"))) == sorted(
        [*ODD_NAMES, "x/a[1].jsonl", "x/a[1].txt"]
    )
    assert _names(list_files([f"{folder}/*.jsonl"], DEFAULTS)) == sorted(ODD_NAMES)
    assert _names(list_files([f"{folder}/**/a?1].jsonl"], DEFAULTS)) == ["a[1].jsonl", "x/a[1].jsonl"]
    other = tmp_path / "b"
    _touch(other, *ODD_NAMES)
    both = _names(list_files([str(folder), str(other), f"{folder}/x/*.jsonl"], CorpusParameters(format="jsonl")))
    assert {"b/what is it?.jsonl", f"{folder.name}/what is it?.jsonl"} <= set(both)


def test_partitions_are_read_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    _touch(tmp_path, "_day=1/a.jsonl", ".hour=2/b.jsonl", "_log/c.jsonl", "README.md", "_SUCCESS")
    listing = list_inputs([str(tmp_path)], DEFAULTS)
    assert _names(listing.files) == [".hour=2/b.jsonl", "_day=1/a.jsonl"]
    assert sorted(line.partition(":")[2].partition("(")[0] for line in listing.left_out) == [" 1 file ", " 2 files "]
    assert "README.md" in "".join(listing.left_out)


def test_a_folder_of_nothing_but_what_does_not_count_says_what_is_there(tmp_path: Path) -> None:
    _touch(tmp_path, "README.md", "_SUCCESS")
    with pytest.raises(CorpusError, match=r"the folder holds no file.*\n  left out: 1 file \(README\.md\)"):
        list_files([str(tmp_path)], DEFAULTS)
    with pytest.raises(CorpusError, match="does not tell the format"):
        list_files([str(tmp_path / "README.md")], DEFAULTS)


def test_keys_that_stand_for_folders() -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFile

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/marks/in/a.jsonl", b"{}")
    for key in ("/marks/in/sub/", "/marks/in/sub_$folder$"):
        # A console writes such keys, for which this store has no call.
        fs.store[key] = MemoryFile(fs, key)
    listing = list_inputs(["memory://marks/in"], DEFAULTS)
    assert _names(listing.files) == ["a.jsonl"]
    assert ["stand for folders" in line for line in listing.left_out] == [True]


def test_names_with_two_colons_on_a_store() -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.store.pop("/colons/a::b.jsonl", None)
    store = resolve("memory://colons/a::b.jsonl")
    store.fs.pipe_file(store.root, b"{}")
    assert _names(list_files(["memory://colons/a::b.jsonl"], DEFAULTS)) == ["a::b.jsonl"]
    assert resolve("simplecache::memory://colons/a.jsonl").fs.protocol == "simplecache"
