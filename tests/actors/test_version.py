"""The version that routes tell."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from actors.version import RESULT_PACKAGES, release, version_differences, versions_of

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


def test_builds_of_one_version_do_not_differ_and_others_are_named_with_the_mend() -> None:
    wanted = {"torch": "2.11.0+cpu", "transformers": "4.57.6", "pyarrow": "21.0.0"}
    found = {"torch": "2.11.0+cu128", "transformers": "4.50.0"}
    differences = version_differences(wanted, found)
    assert list(map(str, differences)) == ["transformers 4.50.0 in place of 4.57.6", "no pyarrow, wanted is 21.0.0"]
    assert differences[0].mend == "pip install 'transformers==4.57.6'"
    assert version_differences({"torch": "2.11.0+cpu"}, {"torch": "2.11.1+cpu"})[0].package == "torch"


def test_versions_are_those_of_this_process_and_what_is_missing_is_left_out() -> None:
    found = versions_of((*RESULT_PACKAGES, "no-such-distribution"))
    assert set(found) == set(RESULT_PACKAGES)
    assert not version_differences(found, found)
