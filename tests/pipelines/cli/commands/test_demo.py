"""`make demo`."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.commands import demo
from tests.markdown_blocks import blocks_of, says
from tests.pipelines.jobs import mixed_rows

ROOT = Path(__file__).parents[4]


def test_answers_are_marked_in_the_passage_around_them() -> None:
    assert demo._marked("The light\nwas lit in 1871.", 4, 13).plain == "  The [light was] lit in 1871."
    long = demo._marked("a" * 200 + "Z" + "b" * 200, 200, 201)
    assert long.plain == "  ..." + "a" * 90 + "[Z]" + "b" * 90 + "..."
    assert [str(span.style) for span in long.spans] == ["reverse"]


@pytest.mark.usefixtures("cluster")
def test_the_demo_ends_with_figures_and_marked_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "samples").mkdir()
    # Every fourth row: the whole corpus takes the machine that runs these tests a minute or two.
    pq.write_table(pa.Table.from_pylist(mixed_rows(91)), tmp_path / demo.CORPUS)
    monkeypatch.chdir(tmp_path)
    demo.main()
    shown = capsys.readouterr().out
    figures = dict(line.split(maxsplit=1) for line in shown.splitlines() if len(line.split()) > 1)
    found = pq.read_table(tmp_path / "build" / "demo")
    assert (figures["rows"].strip(), figures["answered"].strip(), len(found)) == ("91", "91", 91)
    # F1 was 62.7 when the model was made.
    assert 40.0 < float(figures["EM"]) < float(figures["F1"]) < 100.0
    assert float(figures["F1"]) > 60.0
    assert shown.count("  gold: ") == 4
    # The README shows the figures of the whole corpus, which `make test-more` checks, and the first answer.
    [printed] = [block for block in blocks_of(ROOT / "README.md", "README.md") if block.text.startswith("rows ")]
    readme_figures, _, example = printed.text.partition("\n\n")
    assert f"rows            {len(pq.read_table(ROOT / demo.CORPUS))}\n" in readme_figures
    assert all(says(line, shown) for line in example.splitlines())
    assert str(tmp_path / "build" / "demo") in "".join(shown.split())
