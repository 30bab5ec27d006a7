"""How far a form is off and how fast it is: the columns of its row in the card and on the screen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.table import Table

from actors.backends.exported import ExportedForm
from pipelines.words import counted

Figures = Mapping[str, int | float | None]
"""The fields of `actors.export.parity.Parity`."""


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    title: str
    key: str
    """In `Figures`."""
    style: str
    """As `format` takes it."""

    def cell(self, figures: Figures | None) -> str:
        """What stands in a row; empty where it was not measured."""
        value = None if figures is None else figures.get(self.key)
        return "" if value is None else format(value, self.style)


COLUMNS = (
    Column("largest logit difference", "largest_logit", ".2g"),
    Column("hidden states off by", "hidden", ".2g"),
    Column("equal spans", "equal_spans", ".1%"),
    Column("F1", "f1", ".2f"),
    Column("least cosine", "least_cosine", ".6f"),
    Column("rows/s", "rows_per_second", ",.1f"),
)


@dataclass(frozen=True)
class FormRow:
    """What is said of a form in a precision."""

    form: ExportedForm
    name: str
    """Of the form, for people."""
    figures: Figures | None
    verdict: str = ""


@dataclass(frozen=True)
class FormTable:
    """A row for each form, without the columns that are empty in all of them."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, rows: Iterable[FormRow]) -> "FormTable":
        """The table of these rows, in their order."""
        titles = ("form", "precision", "MB", *(column.title for column in COLUMNS), "verdict")
        cells = [
            (
                row.name,
                row.form.precision,
                f"{row.form.bytes / 1e6:,.1f}",
                *(column.cell(row.figures) for column in COLUMNS),
                row.verdict,
            )
            for row in rows
        ]
        filled = [number for number in range(len(titles)) if any(row[number] for row in cells)]
        return cls(
            tuple(titles[number] for number in filled), tuple(tuple(row[number] for number in filled) for row in cells)
        )

    def for_screen(self) -> Table:
        """Numbers stand on the right, as one reads them."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in self.titles:
            is_word = title in ("form", "precision", "verdict")
            table.add_column(title, justify="left" if is_word else "right", no_wrap=is_word)
        for row in self.rows:
            table.add_row(*row)
        return table


def on_rows(figures: Iterable[tuple[str, Figures | None]]) -> list[str]:
    """On how many rows forms were compared, and what F1 torch has there: sentences for below the table.

    Args:
        figures: of each form, with its name and precision.
    """
    measured = [(name, one) for name, one in figures if one is not None and one.get("rows")]
    if not measured:
        return ["Compared with torch in float32 on twelve fixed windows."]
    most = max(int(one["rows"] or 0) for _, one in measured)
    whole = next(one for _, one in measured if one["rows"] == most)
    told = [f"Compared with torch in float32 on twelve fixed windows and {counted(most, 'row')}{_exact_f1(whole)}."]
    for name, one in measured:
        if one["rows"] != most:
            told.append(f"{name}: on the first {one['rows']:,} of them only, since it is slow{_exact_f1(one)}.")
    return told


def _exact_f1(figures: Figures) -> str:
    exact = figures.get("exact_f1")
    return "" if exact is None else f", where the F1 of torch is {exact:.2f}"
