"""The version that routes tell."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from actors.version import release

ACTORS = Path(__file__).parents[2] / "actors"


def test_it_is_the_installed_one() -> None:
    assert re.fullmatch(r"\d+\.\d+.*", release())


def test_code_without_its_package_says_so(tmp_path: Path) -> None:
    """As Ray ships it to a cluster on which Spanmill is not installed."""
    (tmp_path / "actors").mkdir()
    for name in ("__init__.py", "version.py"):
        shutil.copy(ACTORS / name, tmp_path / "actors")
    # -S: no site-packages, where the package is known.
    words = [sys.executable, "-S", "-c", "from actors.version import release; print(release())"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert (
        subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout == "unknown\n"
    )
