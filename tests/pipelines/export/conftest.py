"""What tests of `spanmill export` share."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.export.form import ExportForm
from pipelines.export.assembly import Check
from pipelines.export.figures import Figures
from tests.actors.helpers import GOLDEN


def unchecked(model: Path, output: Path) -> Check:
    """In the place of a comparison with torch, where a test is about something else."""

    def check(form: ExportForm, precision: str) -> Figures:
        return {"rows": 0, "largest_logit": None}

    return check


def files_in(folder: Path) -> set[str]:
    """Of a folder and all below it, as paths relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def golden_copy(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a golden model into the test's own folder, where it may be spoilt."""
    return lambda name: Path(shutil.copytree(GOLDEN / "models" / name, tmp_path / "models" / name))
