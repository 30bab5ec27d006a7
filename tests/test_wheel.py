"""The wheel, installed where nothing of this repository is: what it lacks is missed here."""

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "samples" / "corpus.parquet"
MODEL = ROOT / "models" / "minilm-qa"
PACKAGES = ("actors", "pipelines", "spanmill")

pytestmark = pytest.mark.together

MADE_ELSEWHERE = ignore_patterns("__pycache__", "*.egg-info", "build", "dist", ".*", "untrained")

TEMPLATES = """
import sys
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.evaluation.squad import EXAMPLE_SCHEMA
from pipelines.job.job import bind, plan_job
from pipelines.output.row_counts import read_counts
from pipelines.reporting.html import render
from pipelines.reporting.progress import Tally
from pipelines.reporting.report_builder import make_report
from pipelines.training.dataset import TrainingData
from pipelines.training.model_card import Card, render_card

corpus, output, model = sys.argv[1:]
config = load_config(AnswerConfig, None, ["model.name=" + model])
job = bind(plan_job([corpus], output, config, limit=None), replace=False)
print(render(make_report(job, None, Tally(), read_counts(job.parts, job.committed()), complete=False)))
rows = EXAMPLE_SCHEMA.empty_table()
config = load_config(FinetuneConfig, None, ["base.name=the/base", "data.held_out_share=0"])
print(render_card(Card.of(config, TrainingData(rows, rows, (), ()), (), ())))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and this environment's packages behind it."""

    bin: Path
    packages: Path
    folder: Path
    """An empty one."""

    def run(self, *words: object) -> str:
        """What a command of the environment prints, run in the empty folder."""
        command = [str(self.bin / str(words[0])), *map(str, words[1:])]
        done = subprocess.run(command, cwd=self.folder, env=_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _environment() -> dict[str, str]:
    """This process's, without what would show another Python this repository."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _pip(*words: object) -> None:
    command = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words))
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    # setuptools builds in the source tree, which stays as it is.
    source = Path(copytree(ROOT, folder / "source", symlinks=True, ignore=MADE_ELSEWHERE))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", folder / "env"), check=True)
    python = folder / "env" / "bin" / "python"
    _pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "env")}))
    # A folder named in a .pth file comes last, and .pth files in it are not read, nor the one of an editable install.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "empty").mkdir()
    return Installed(python.parent, packages, folder / "empty")


def _ours(folder: Path) -> set[Path]:
    """Modules, templates and files of pages of the packages below a folder."""
    files = (path for name in PACKAGES for path in (folder / name).rglob("*"))
    return {path.relative_to(folder) for path in files if path.suffix in (".py", ".j2", ".html", ".js", ".css", ".svg")}


def test_every_module_and_template_is_in_it(installed: Installed) -> None:
    assert _ours(installed.packages) == _ours(ROOT)
    program = "import actors, pipelines, spanmill as s; print(actors.__file__, pipelines.__file__, s.__file__)"
    found = installed.run("python", "-c", program).split()
    assert found == [str(installed.packages / name / "__init__.py") for name in PACKAGES]


def test_the_rust_program_is_in_it(installed: Installed) -> None:
    sources = sorted((ROOT / "infra" / "rust").glob("*.rs"))
    assert sources
    for source in sources:
        there = installed.packages / "actors" / "export" / "rust_program" / source.name
        assert there.read_bytes() == source.read_bytes()


def test_it_answers_from_an_empty_folder_with_the_model_that_came_with_it(installed: Installed) -> None:
    program = "import spanmill; print(spanmill.QuestionAnswering()('Who waits?', 'Ada waits by the mill.')['answer'])"
    assert installed.run("python", "-c", program) == "Ada\n"
    assert not list(installed.folder.iterdir())


def test_the_command_helps_and_shows_a_job(installed: Installed) -> None:
    assert "Usage: spanmill" in installed.run("spanmill", "--help")
    shown = installed.run("spanmill", "answer", CORPUS, "out", "--dry-run")
    assert shown.startswith("1 file, ")
    assert re.search(r"^model minilm-qa  fingerprint ", shown, re.MULTILINE)
    assert not list(installed.folder.iterdir())


def test_its_templates_are_rendered(installed: Installed, tmp_path: Path) -> None:
    pages = installed.run("python", "-c", TEMPLATES, CORPUS, tmp_path / "out", MODEL)
    assert pages.startswith("<!DOCTYPE html>")
    assert "</html>" in pages
    assert "library_name: transformers" in pages
    assert "\nbase_model: the/base\n" in pages


@pytest.mark.more
def test_it_bundles_the_model_with_its_own_modules(installed: Installed, tmp_path: Path) -> None:
    said = installed.run("spanmill", "bundle", "minilm-qa", tmp_path / "bundle")
    assert "an endpoint for question-answering" in said
    modules = tmp_path / "bundle" / "spanmill_modules"
    assert (modules / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert _ours(modules) < _ours(ROOT)
