import sys
from pathlib import Path

import pytest

from pipelines.bench.environments import ENVIRONMENTS, interpreters_of, missing, own
from pipelines.bench.worker import Interpreter
from pipelines.errors import ConfigError


@pytest.mark.parametrize("interpreter", [own(), Interpreter(Path(sys.executable), is_own=False)])
def test_what_is_missing_goes_by_name_and_version(interpreter: Interpreter) -> None:
    wanted = ["numpy", "transformers<5", "transformers>=5", "no-such-thing==1"]
    assert missing(interpreter, wanted) == ["transformers<5", "no-such-thing==1"]


def test_an_interpreter_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("no program")
    with pytest.raises(ConfigError, match="does not run as a Python"):
        missing(Interpreter(tmp_path / "python", is_own=False), ["numpy"])


def test_interpreters_by_hand(tmp_path: Path) -> None:
    (tmp_path / "python").touch()
    assert interpreters_of([f"infinity={tmp_path}/python"], ["infinity"]) == {"infinity": tmp_path / "python"}
    for wrong, says in (
        ("python", "NAME=PATH"),
        ("other=x", "a NAME of infinity"),
        ("infinity=/none", "there is no /none"),
    ):
        with pytest.raises(ConfigError, match=says):
            interpreters_of([wrong], ["infinity"])


def test_environments_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert {one.folder for one in ENVIRONMENTS} == {tmp_path / "spanmill" / "bench" / one.name for one in ENVIRONMENTS}
    assert all("==" in pin for one in ENVIRONMENTS for pin in one.pins)
