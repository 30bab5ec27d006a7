"""The commands and snippets of the documentation, run as they stand, page by page from top to bottom.

A block without a comment before it is run by `make test`. The comments, which no reader of the page sees:

    <!-- takes minutes -->            `make test-more` runs it
    <!-- not run: WHY -->             nobody does
    <!-- output -->                   it is what the block before prints; behind a colon: of which lines
    <!-- config of answer -->         a part of that command's config

Either way a page is run in a folder of its own that has the files of the repository. Where it takes seconds, what
earlier blocks would have left there in minutes is put there first, smaller.
"""

import ast
import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import spanmill
from pipelines.cli.main import app
from pipelines.config.bundle import BundleConfig
from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import check_config, load_config
from pipelines.config.service import ServeConfig
from pipelines.config.training import FinetuneConfig
from pipelines.errors import ConfigError
from tests.markdown_blocks import Block, blocks_of, says
from tests.pipelines.jobs import mixed_rows, write_jsonl
from tests.pipelines.processes import BIN, Command

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
PAGES += ("infra/README.md", "models/README.md")
BLOCKS = {page: list(blocks_of(ROOT / page, page)) for page in PAGES}
CONFIGS: dict[str, Any] = {
    "answer": AnswerConfig,
    "bundle": BundleConfig,
    "embed": EmbedConfig,
    "serve": ServeConfig,
    "finetune": FinetuneConfig,
}
OF_ONE_MACHINE = ("whole run", "once it ran", "forward passes", "one actor", "padding", "windows a pass", "next")
"""Lines of the demo's figures that differ from machine to machine."""
LEFT_OUT = {".git", "build", "out", "vectors"}
"""Of the repository's folder: what blocks make, or have no need of."""

_MAKE = 'make() { command make --assume-old=.venv/installed "$@"; }'
"""Where a page says make: the folder of a test shares the environment that runs it, in which nothing may be installed
from there, since an editable install is a link to a folder that is gone after the test.
"""


@dataclass
class Session:
    """What a reader has who does a page from top to bottom: a folder, names in Python, a terminal with a server."""

    folder: Path
    names: dict[str, object] = field(default_factory=dict)
    printed: str = ""
    """By the last block."""
    server: Command | None = None

    def run(self, block: Block) -> None:
        if block.mark == "output":
            self._check_output(block)
        elif block.language == "python":
            self._run_python(block)
        else:
            self._run_shell(block)

    def close(self) -> None:
        if self.server is not None:
            self.server.clean_up()
            self.server = None

    def _run_python(self, block: Block) -> None:
        lines, printed = block.text.splitlines(), io.StringIO()
        for statement in ast.parse(block.text).body:
            # Lines keep their numbers, so that an error names that of the block.
            code = ast.Module([statement], [])
            with redirect_stdout(printed):
                if not isinstance(statement, ast.Expr):
                    exec(compile(code, str(block), "exec"), self.names)
                    continue
                value = eval(compile(ast.Expression(statement.value), str(block), "eval"), self.names)
            for shown in lines[statement.end_lineno : (statement.end_lineno or 0) + 1]:
                is_value = shown.startswith("# ")
                assert not is_value or says(shown.removeprefix("# "), repr(value)), f"{block}: {value!r} is not {shown}"
        self.printed = printed.getvalue()

    def _run_shell(self, block: Block) -> None:
        served, others = list[str](), list[str]()
        for line in block.text.splitlines():
            (served if line.startswith(("spanmill serve", "spanmill view")) else others).append(line)
        for line in served:
            self._serve(shlex.split(line, comments=True))
        script = "\n".join(["set -euo pipefail", _MAKE, *others])
        env = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        env["PATH"] = f"{BIN}:{env['PATH']}"
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
        self.printed = done.stdout

    def _serve(self, words: list[str]) -> None:
        """In a terminal of its own, until the page ends or serves something else."""
        self.close()
        server = Command(tuple(words), self.folder)
        self.server = server
        server.wait_until(lambda: "ready: " in "".join(server.said()), 300)

    def _check_output(self, block: Block) -> None:
        for line in block.text.splitlines():
            if line.strip() and not line.startswith(OF_ONE_MACHINE):
                assert says(line, self.printed), f"{block}: {line!r} is not in {self.printed!r}"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    for path in ROOT.iterdir():
        if path.name not in LEFT_OUT:
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    session = Session(tmp_path)
    yield session
    session.close()


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    for block in BLOCKS[page]:
        assert block.mark != "not run" or block.reason, f"{block} does not say why it is not run"
        for name in re.findall(r"tests/[\w/]+(?:\.py)?", block.reason):
            assert (ROOT / name).exists(), f"{block} names {name}, which is not there"
        if block.mark.startswith("config of "):
            check_config(CONFIGS[block.mark.removeprefix("config of ")], yaml.safe_load(block.text), str(block))


def _of_seconds(page: str) -> list[Block]:
    blocks, chosen = BLOCKS[page], list[Block]()
    for number, block in enumerate(blocks):
        follows = block.mark == "output" and number and blocks[number - 1] in chosen
        if not block.mark or follows:
            chosen.append(block)
    return chosen


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("page", [page for page in PAGES if _of_seconds(page)])
def test_what_takes_seconds(page: str, session: Session) -> None:
    """The state is that of the commands that take minutes, on fewer rows."""
    if page == "README.md":
        corpus = session.folder / "samples" / "corpus.parquet"
        columns = {"columns": {"text": "context"}, "carry": ["title"]}
        spanmill.answer(corpus, "out", limit=8, quiet=True)
        spanmill.embed(corpus, "vectors", corpus=columns, limit=16, quiet=True)
    for block in _of_seconds(page):
        session.run(block)


@pytest.mark.more
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", [page for page in PAGES if any(b.mark == "takes minutes" for b in BLOCKS[page])])
def test_what_takes_minutes(page: str, session: Session) -> None:
    """Every block of the page that is run at all, in order."""
    rows = mixed_rows(24)
    write_jsonl(session.folder / "INPUT" / "rows.jsonl", rows)
    for name in ("policies.jsonl", "rows.jsonl"):
        write_jsonl(session.folder / name, rows)
    for block in BLOCKS[page]:
        if block.mark in ("", "takes minutes", "output"):
            session.run(block)


def _inline() -> Iterator[tuple[str, str]]:
    """Every inline code of the pages, with the page."""
    for page in PAGES:
        text = re.sub(
            r"^ *```.*?^ *```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
            yield page, code


def test_commands_within_sentences_exist() -> None:
    commands: Any = typer.main.get_command(app)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    modules = 0
    for page, code in _inline():
        words = code.split()
        if words[0] == "spanmill" and len(words) > 1 and words[1].isalpha():
            assert words[1] in commands.commands, f"{page}: {code}"
            options = {option for parameter in commands.commands[words[1]].params for option in parameter.opts}
            assert {word for word in words[2:] if word.startswith("--")} <= options, f"{page}: {code}"
        if words[0] == "make" and len(words) == 2:
            assert words[1] in targets, f"{page}: {code}"
        if words[:2] == ["python", "-m"]:
            modules += 1
            assert (ROOT / words[2].replace(".", "/")).with_suffix(".py").exists() or (
                ROOT / words[2].replace(".", "/")
            ).is_dir()
    assert modules


def test_keys_within_sentences_exist() -> None:
    """`--set KEY=VALUE` is a key of some command's config, and the value one of its values."""
    checked = 0
    for page, code in _inline():
        for value in re.findall(r"--set ('[^']+'|[^\s']+)", code):
            if "..." in value or "package.module" in value or "my_package" in value:
                continue
            checked += 1
            for kind in CONFIGS.values():
                try:
                    load_config(kind, None, [value.strip("'")])
                    break
                except ConfigError as error:
                    refused = error
            else:
                raise AssertionError(f"{page}: {code}: {refused}")
    assert checked > 10


def test_scores_of_the_model_are_those_of_its_card() -> None:
    card = (ROOT / "models" / "minilm-qa" / "README.md").read_text(encoding="utf-8")
    [of_squad] = re.findall(r"^\| SQuAD, answerable \|.*\*\*([\d.]+)\*\* \|$", card, re.MULTILINE)
    assert f"F1 {of_squad} on SQuAD questions" in (ROOT / "README.md").read_text(encoding="utf-8")
