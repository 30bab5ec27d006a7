"""The row of a form, in the card and on the screen."""

import io

from rich.console import Console

from actors.backends.exported import ExportedFile, ExportedForm
from pipelines.export.figures import FormRow, FormTable, on_rows

FORM = ExportedForm("onnx", "int8", (ExportedFile("a", 1_500_000, ""), ExportedFile("b", 1_000_000, "")))
MEASURED = {
    "largest_logit": 0.1234,
    "hidden": 0.01,
    "least_cosine": 0.99987654,
    "equal_spans": 23 / 24,
    "f1": 81.3,
    "exact_f1": 82.0,
    "rows": 24,
    "rows_per_second": 1234.5,
}


def test_a_row_has_all_figures_of_a_form() -> None:
    table = FormTable.of([FormRow(FORM, "onnx", MEASURED, "kept")])
    assert dict(zip(table.titles, table.rows[0], strict=True)) == {
        "form": "onnx",
        "precision": "int8",
        "MB": "2.5",
        "largest logit difference": "0.12",
        "hidden states off by": "0.01",
        "equal spans": "95.8%",
        "F1": "81.30",
        "least cosine": "0.999877",
        "rows/s": "1,234.5",
        "verdict": "kept",
    }


def test_what_was_measured_of_none_has_no_column() -> None:
    table = FormTable.of([FormRow(FORM, "onnx", {"least_cosine": 1.0, "f1": None}), FormRow(FORM, "text", None)])
    assert table.titles == ("form", "precision", "MB", "least cosine")
    assert table.rows == (("onnx", "int8", "2.5", "1.000000"), ("text", "int8", "2.5", ""))


def test_it_fits_on_a_screen_of_100_columns_without_cutting_a_figure() -> None:
    rows = [FormRow(ExportedForm("ctranslate2", "float32", FORM.files), "ctranslate2", MEASURED, "not run")]
    console = Console(file=io.StringIO(), width=100)
    console.print(FormTable.of(rows).for_screen())
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().splitlines()[-1].split()
    assert last == [
        "ctranslate2",
        "float32",
        "2.5",
        "0.12",
        "0.01",
        "95.8%",
        "81.30",
        "0.999877",
        "1,234.5",
        "not",
        "run",
    ]


def test_rows_are_told_with_the_f1_of_torch() -> None:
    slow = MEASURED | {"rows": 3, "exact_f1": 100.0}
    assert on_rows([("onnx int8", MEASURED), ("rust float32", slow), ("text float32", None)]) == [
        "Compared with torch in float32 on twelve fixed windows and 24 rows, where the F1 of torch is 82.00.",
        "rust float32: on the first 3 of them only, since it is slow, where the F1 of torch is 100.00.",
    ]
    assert on_rows([("text float32", {"rows": 0})]) == ["Compared with torch in float32 on twelve fixed windows."]
