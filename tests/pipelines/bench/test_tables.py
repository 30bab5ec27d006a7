import io

from rich.console import Console

from pipelines.bench.tables import show
from tests.pipelines.bench.reports import make_report


def test_tables_have_medians_ratios_and_what_failed() -> None:
    said = io.StringIO()
    show(make_report(), Console(file=said, width=200))
    text = said.getvalue()
    assert "2 cores of A CPU (avx2), 8 GB" in text
    engine = next(line.split() for line in text.splitlines() if line.strip().startswith("1  engine"))
    assert engine == ["1", "engine", "float32", "50.0", "33.3", "100.0", "500", "0.50", "1.00", "99.0%"]
    other = next(line for line in text.splitlines() if "other (8 a batch)" in line)
    assert "0.50" in other.split()
    assert "third: failed: ended by signal 9" in text
    assert ["engine", "2.00"] in [line.split() for line in text.splitlines()]
