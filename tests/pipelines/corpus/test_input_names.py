"""Names below a folder that are no files of the input."""

import pytest

from pipelines.corpus.input_names import LeftOut, is_hidden, reason_to_leave_out

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".json")


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("", 0, "stand for folders"),
        ("x/", 0, "stand for folders"),
        ("x_$folder$", 0, "stand for folders"),
        ("_SUCCESS", 0, "do not count"),
        ("x/_log/a.jsonl", 9, "do not count"),
        (".a.parquet.crc", 9, "do not count"),
        ("a.parquet._COPYING_", 9, "not finished"),
        ("README.md", 9, "describe data"),
        ("x/License.txt", 9, "describe data"),
        ("LICENSE", 9, "describe data"),
        ("dataset_infos.json", 9, "describe data"),
        ("load.py", 9, "describe data"),
    ],
)
def test_what_is_left_out(name: str, size: int, words: str) -> None:
    assert words in reason_to_leave_out(name, size, SUFFIXES)


@pytest.mark.parametrize(
    "name",
    [
        "a.jsonl",
        "_day=1/a.jsonl",
        ".h=2/_x=3/a.parquet",
        "readme.jsonl",
        "authors.jsonl.gz",
        "a.csv",
        "a.txt",
        "empty",
        "x_$folder$.jsonl",
    ],
)
def test_what_is_looked_at(name: str) -> None:
    assert reason_to_leave_out(name, 0, SUFFIXES) == ""


def test_suffixes_of_a_format_are_no_description() -> None:
    assert reason_to_leave_out("a.md", 1, (".md",)) == ""


def test_hidden_names() -> None:
    assert [is_hidden(name) for name in ("_a", ".a", "_a=1", "a_", "a.b")] == [True, True, False, False, False]


def test_what_is_left_out_is_said_with_its_number_and_first_names() -> None:
    left_out = LeftOut()
    for number in range(1200):
        left_out.add("hidden", f"_{number}")
    left_out.add("odd", "x")
    assert left_out.lines() == ("left out: 1,200 files (_0, _1, _2, ...): hidden", "left out: 1 file (x): odd")
