"""Files of kinds that are not read."""

import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.corpus.foreign_files import advice_for

ROWS = [{"id": 1, "question": "Who?", "context": "Ada, by the mill."}]


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a b's.CSV", ","), ("a.tsv", "\t")])
def test_the_line_that_is_said_converts_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mark: str
) -> None:
    monkeypatch.chdir(tmp_path)
    row = mark.join(("1", "Who?", '"Ada, by the mill."'))
    (tmp_path / name).write_text(f"{mark.join(ROWS[0])}\n{row}\n")
    before, _, command = advice_for(str(tmp_path / name), is_local=True).partition(" make Parquet of it: ")
    assert before == f"{Path(name).suffix[1:].upper()} is not read;"
    subprocess.run(command, shell=True, check=True)
    assert pq.read_table(tmp_path / name.replace(Path(name).suffix, ".parquet")).to_pylist() == ROWS


def test_what_cannot_be_read_where_it_lies_is_copied_first() -> None:
    said = advice_for("s3://bucket/in/a.csv.gz", is_local=False)
    assert "copy it to this machine" in said
    assert "read_csv('a.csv.gz'), 'a.parquet')" in said


def test_excel_and_plain_text() -> None:
    assert "with pandas and openpyxl installed" in advice_for("a.xlsx", is_local=True)
    assert "pandas.read_excel('a.xlsx').to_parquet('a.parquet')" in advice_for("a.xlsx", is_local=True)
    assert "a JSON object a line" in advice_for("a.txt", is_local=True)


@pytest.mark.parametrize("name", ["a.parquet.gz", "a", "a.xml"])
def test_of_other_names_it_knows_nothing(name: str) -> None:
    assert advice_for(name, is_local=True) == ""
