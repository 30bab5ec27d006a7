"""Figures of several rounds, beside their goals."""

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

_MEETS: dict[str, Callable[[float, float], bool]] = {"≤": operator.le, "≥": operator.ge}


@dataclass(frozen=True)
class Goal:
    """What the median should be, or with "=" every value."""

    sign: Literal["≤", "≥", "="]
    bound: float

    def met(self, values: Sequence[float]) -> bool:
        """Whether a figure reaches it; nan never does."""
        if self.sign == "=":
            return all(value == self.bound for value in values)
        return _MEETS[self.sign](statistics.median(values), self.bound)


@dataclass(frozen=True)
class Figure:
    """One line of a measurement."""

    name: str
    unit: str
    values: tuple[float, ...]
    """A value per round."""
    goal: Goal | None = None


class Figures:
    """The lines of a measurement, gathered round by round."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.notes: list[str] = []
        self._lines: dict[str, tuple[str, Goal | None, list[float]]] = {}

    def add(self, name: str, value: float, unit: str = "ms", goal: Goal | None = None) -> None:
        """A value of this round."""
        self._lines.setdefault(name, (unit, goal, []))[2].append(value)

    def note(self, text: str) -> None:
        """Something that is no figure."""
        self.notes.append(text)

    def all(self) -> list[Figure]:
        """In the order in which they came first."""
        return [Figure(name, unit, tuple(values), goal) for name, (unit, goal, values) in self._lines.items()]


def show(figures: Figures, console: Console) -> None:
    """Prints a measurement."""
    table = Table("", "median", "least", "most", "", "goal", "", title=figures.title, title_justify="left", box=None)
    for figure in figures.all():
        middle = statistics.median(figure.values)
        ends = (_number(middle), _number(min(figure.values)), _number(max(figure.values)))
        table.add_row(figure.name, *ends, figure.unit, *_against(figure))
    console.print(table)
    for note in figures.notes:
        console.print(f"  {note}")
    console.print()


def _against(figure: Figure) -> tuple[str, str]:
    goal = figure.goal
    if goal is None:
        return "", ""
    return f"{goal.sign} {goal.bound:g}", "met" if goal.met(figure.values) else "NOT MET"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"
