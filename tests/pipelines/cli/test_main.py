"""The command: what it prints, and its exit codes. What needs Ray is in test_resume and test_running_cluster."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import copytree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel
from typer.main import get_command

from pipelines.cli.main import app, main
from pipelines.config.job import AnswerConfig, EmbedConfig, StatusConfig
from pipelines.config.loader import as_yaml, load_config
from pipelines.config.service import ServeConfig
from pipelines.config.training import FinetuneConfig
from pipelines.job.job import bind
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


Spanmill = Callable[..., Said]


@pytest.fixture
def spanmill(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Spanmill:
    """Runs `spanmill` with these words in this process; whatever is not a clean exit is raised."""

    # The command tries models in a process of its own, which takes seconds to import torch, only to keep it out of this
    # one, where it is already. tests/pipelines/job/test_job.py shows that both give the same job.
    monkeypatch.setattr("pipelines.job.job.in_side_process", _in_this_process)

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["spanmill", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


def _in_this_process(function: Callable[..., object], *arguments: object) -> object:
    return function(*arguments)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "in" / "a.jsonl", qa_rows(10)).parent


def test_it_says_its_release(spanmill: Spanmill) -> None:
    assert spanmill("--version") == Said(0, f"spanmill {version('spanmill')}\n", "")


def test_a_wrong_path_is_said_before_torch_and_ray_are_imported(tmp_path: Path) -> None:
    program = """
import sys
from pipelines.cli.main import main
try:
    main()
finally:
    print([name for name in ("torch", "ray", "transformers") if name in sys.modules])
"""
    words = ("answer", str(tmp_path / "nothing"), str(tmp_path / "out"))
    done = subprocess.run((sys.executable, "-c", program, *words), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert "there is no such file or folder" in done.stderr


def test_the_installed_command_answers_with_its_help() -> None:
    command = str(Path(sys.executable).with_name("spanmill"))
    done = subprocess.run([command, "answer", "--help"], capture_output=True, text=True, check=True)
    for word in (
        "INPUT",
        "OUTPUT",
        "--config",
        "--model",
        "--set",
        "--limit",
        "--dry-run",
        "--overwrite",
        "--extend",
        "--max-quarantined",
        "Exit codes",
    ):
        assert word in done.stdout


def test_answer_and_embed_take_the_same_options(spanmill: Spanmill) -> None:
    answer, embed = (spanmill(name, "--help").out.partition("Arguments:") for name in ("answer", "embed"))
    options = [re.findall(r"^  (-[-\w]+.*?)(?:  |$)", words, re.MULTILINE) for words in (answer[2], embed[2])]
    assert options[0] == options[1]
    assert "--estimate" in answer[2]
    assert "Write a vector for every text" in embed[0]
    assert "Write a vector for every text" not in answer[0]


@pytest.mark.parametrize(
    ("kind", "config"), [("answer", AnswerConfig), ("embed", EmbedConfig), ("finetune", FinetuneConfig)]
)
def test_config_prints_a_config(spanmill: Spanmill, kind: str, config: type[BaseModel]) -> None:
    assert spanmill("config", kind) == Said(0, as_yaml(config), "")


COMMANDS = (
    *("answer", "embed", "bench", "status", "doctor", "config", "evaluate", "finetune", "serve", "drain", "node"),
)
CONFIGS = {"answer": "answer", "embed": "embed", "evaluate": "answer", "finetune": "finetune", "serve": "serve"}


@pytest.mark.parametrize("command", CONFIGS)
def test_help_names_the_commands_own_config(spanmill: Spanmill, command: str) -> None:
    said = " ".join(spanmill(command, "--help").out.split())
    assert f"Config; `spanmill config {CONFIGS[command]}` prints one." in said


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_are_right(spanmill: Spanmill, command: str) -> None:
    """Each is a line of its own, with options and keys that there are. That the commands run is shown elsewhere."""
    shown = spanmill(command, "--help").out
    examples = [line.strip() for line in shown.partition("Examples:")[2].strip("\n").partition("\n\n")[0].splitlines()]
    assert 2 <= len(examples) <= 5
    configs: dict[str, type[BaseModel]] = {"evaluate": AnswerConfig, "serve": ServeConfig, "status": StatusConfig}
    configs |= {"bench": AnswerConfig, "answer": AnswerConfig, "embed": EmbedConfig, "finetune": FinetuneConfig}
    for example in examples:
        program, name, *words = shlex.split(re.sub(r"^SPANMILL_KEYS=\w+ | > .*$", "", example))
        assert (program, name) == ("spanmill", command)
        given = get_command(app).commands[command].make_context(name, words).params  # type: ignore[attr-defined]
        kind = configs.get(given.get("kind") or name)
        if kind is not None:
            load_config(kind, None, given["overrides"] or [])
    for example in re.findall(r"e\.g\. (\S+=\S+);", " ".join(shown.split())):
        load_config(configs.get(command, AnswerConfig), None, [example])


def test_config_prints_the_values_of_a_file_and_of_words(spanmill: Spanmill, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("qa: {top_k: 3}\ncorpus.carry: [title]\n")
    words = ("config", "answer", "--config", tmp_path / "job.yaml", "--set", "embedding={}")
    full = spanmill(*words)
    assert "\n  top_k: 3\n" in full.out
    assert "\n  pooling: mean\n" in full.out
    changed = "corpus:\n  carry:\n  - title\nqa:\n  top_k: 3\nembedding: {}\n"
    assert spanmill(*words, "--changed") == Said(0, changed, "")
    assert spanmill("config", "serve", "--changed") == Said(0, "# every key is at its default\n", "")
    assert spanmill("config", "answer", "--changed", "--set", "qa.topk=3").code == 2
    secret = spanmill("config", "answer", "--set", "corpus.storage.secret=pass4711").out
    assert "  storage: {secret: '***'}\n" in secret


def test_a_dry_run_shows_the_job_and_writes_nothing(
    spanmill: Spanmill, corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    write_jsonl(corpus / "0-empty.jsonl", [])
    write_jsonl(corpus / "a.jsonl", [b"{", *qa_rows(9)])
    long = tmp_path / ("long " * 40).replace(" ", "-") / "out"
    said = spanmill("answer", corpus, long, "--dry-run", "--model", untrained_model, "--limit", 8)
    assert said.code == 0
    assert said.out.startswith("2 files, 2 read units, 8 rows")
    for line in (
        f"model {untrained_model}  fingerprint ",
        f"output {long}  job ",
        "  score: double",
        "  id='q0'  question='Who is 0?'  context='It is number 0.'",
        "  quarantined: a.jsonl 0: malformed_json",
    ):
        assert f"\n{line}" in said.out
    assert not long.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dry-run"], "stopped; nothing was written"),
        (["--estimate"], "stopped; nothing was written"),
        ([], "stopped; what is committed stays, and the same command goes on from there"),
    ],
)
def test_a_command_that_is_stopped_says_what_is_true_of_it(
    spanmill: Spanmill, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.cli.commands.run_job.find_places", stopped)
    assert spanmill("answer", corpus, tmp_path / "out", *words) == Said(130, "", f"{said}\n")


def test_an_embed_dry_run(spanmill: Spanmill, corpus: Path, tmp_path: Path, untrained_model: Path) -> None:
    words = ("--set", "corpus.columns.text=context", "--model", untrained_model)
    said = spanmill("embed", corpus, tmp_path / "out", "--dry-run", *words)
    assert said.code == 0
    assert re.search(r"embedding: fixed_size_list<\w+: float>\[128\]", said.out)
    assert "id='q0'  text='It is number 0.'" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "qa.topk=3"], "unknown key qa.topk; the nearest is qa.top_k"),
        (["--config", "none.yaml"], "none.yaml: cannot be read"),
        (["--limit", "0"], "--limit"),
        (["--nonsense"], "--nonsense"),
        (["--max-quarantined", "few"], "max_quarantined"),
        (["--model", "./none"], "model.name: there is no folder ./none"),
    ],
)
def test_wrong_use_is_exit_code_2(spanmill: Spanmill, corpus: Path, words: list[str], message: str) -> None:
    said = spanmill("answer", corpus, "out", *words)
    assert said.code == 2
    assert message in said.err


@pytest.mark.parametrize("input", ["none.jsonl", "none-*.jsonl", "empty/"])
def test_an_input_that_is_not_there_is_wrong_use(
    spanmill: Spanmill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    said = spanmill("answer", input, "out")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert input.rstrip("/") in said.err


@pytest.mark.parametrize(("command", "first"), [("answer", "q.jsonl"), ("embed", "old out"), ("finetune", "dev.json")])
def test_what_is_named_alone_is_the_input_and_the_output_is_missing(
    spanmill: Spanmill, command: str, first: str
) -> None:
    said = spanmill(command, "--set", "model.name=x", first)
    assert said.code == 2
    assert f"Missing argument 'OUTPUT': only {first} is given" in said.err
    assert f"spanmill {command} {shlex.quote(first)} OUTPUT`." in said.err
    assert "'OUTPUT'" not in spanmill(command).err
    assert "--set" in spanmill(command, first, "--help").out


def test_a_typo_in_a_config_file_names_file_and_nearest_key(spanmill: Spanmill, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("corpus:\n  colums:\n    id: key\n")
    said = spanmill("answer", corpus, "out", "--config", tmp_path / "job.yaml")
    assert said == Said(
        2,
        "",
        f"error: {tmp_path}/job.yaml cannot be used:\n  unknown key corpus.colums; the nearest is corpus.columns\n",
    )


def _headless_model(folder: Path, model: Path) -> tuple[list[object], str]:
    from transformers import DistilBertModel

    headless = Path(copytree(model, folder / "headless"))
    DistilBertModel.from_pretrained(model).save_pretrained(headless)
    return [_corpus(folder), folder / "out", "--model", headless], "without a QA head"


def _truncated_file(folder: Path, model: Path) -> tuple[list[object], str]:
    for name in ("a", "b", "c"):
        pq.write_table(pa.Table.from_pylist(qa_rows(50)), folder / f"{name}.parquet")
    (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:-20])
    return [folder / "*.parquet", folder / "out", "--model", model], "b.parquet"


def _output_is_a_file(folder: Path, model: Path) -> tuple[list[object], str]:
    (folder / "file").write_text("x")
    return [_corpus(folder), folder / "file" / "out", "--model", model], f"{folder}/file/out"


def _missing_bucket_package(folder: Path, model: Path) -> tuple[list[object], str]:
    return [_corpus(folder), "gs://bucket/out", "--model", model], "pip install 'spanmill[gcs]'"


def _wrong_column(folder: Path, model: Path) -> tuple[list[object], str]:
    return [_corpus(folder), folder / "out", "--model", model, "--set", "corpus.columns.question=quest"], "quest"


def _corpus(folder: Path) -> Path:
    return write_jsonl(folder / "a.jsonl", qa_rows(3))


@pytest.mark.parametrize(
    "case",
    [
        _headless_model,
        _truncated_file,
        _output_is_a_file,
        _missing_bucket_package,
        _wrong_column,
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    spanmill: Spanmill,
    tmp_path: Path,
    untrained_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: Callable[[Path, Path], tuple[list[object], str]],
) -> None:
    # `make test-more` installs it.
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    words, message = case(tmp_path, untrained_model)
    said = spanmill("answer", *words)
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert message in said.err
    assert said.err.count("\n") == 1, said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "DATA"),
        (["data", "--set", "qa.topk=3"], 2, "unknown key qa.topk"),
        (["none.jsonl"], 2, "none.jsonl: there is no such file or folder"),
        (["data/a.jsonl"], 1, "a.jsonl: there is no 'answers'; it has 'id', 'question', 'context'"),
        (["data/b.jsonl"], 2, "there is no folder"),
    ],
)
def test_evaluations_that_cannot_be(
    spanmill: Spanmill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "data" / "a.jsonl", qa_rows(3))
    write_jsonl(tmp_path / "data" / "b.jsonl", [{**qa_rows(1)[0], "answers": {"text": [], "answer_start": []}}])
    said = spanmill("evaluate", tmp_path / "no-model", *words)
    assert said.code == code
    assert message in said.err
    assert said.out == ""


def test_another_job_in_the_output_is_spelled_out(
    spanmill: Spanmill, corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    words = ("--model", untrained_model, "--set", "qa.top_k=3", "--limit", 5)
    said = spanmill("answer", corpus, tmp_path / "out", *words)
    assert said.code == 1
    assert "  qa.top_k: 1 -> 3\n  limit: null -> 5\n" in said.err
    assert "--overwrite" in said.err


def test_status_before_during_and_after(
    spanmill: Spanmill, corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    from pipelines.output.parts import ShardId, write_success
    from pipelines.schemas import QUARANTINE_SCHEMA

    nothing = spanmill("status", tmp_path / "out")
    assert nothing.code == 2
    assert "no job of Spanmill here" in nothing.err

    job = bind(make_job([corpus], tmp_path / "out", untrained_model, "corpus.shard_rows=5"), replace=False)
    rows = pa.Table.from_pylist([{"id": "q0"}] * 4, job.schema)
    bad = pa.table({name: [None] for name in QUARANTINE_SCHEMA.names}, schema=QUARANTINE_SCHEMA)
    job.parts.commit(ShardId(0, 0, False), rows, bad, {})
    during = spanmill("status", tmp_path / "out")
    assert during.code == 1
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in during.out.splitlines()}
    assert lines["state"] == "not complete: the same command goes on"
    assert (lines["shards"], lines["rows"], lines["quarantined"]) == ("1 of about 2", "5", "1")

    assert (
        spanmill("status", tmp_path / "out", "--rows", 2).out.splitlines()[-2:]
        == ["id='q0'  answer=None  score=None  start=None  end=None"] * 2
    )
    job.parts.commit(ShardId(0, 1, True), rows, bad, {})
    write_success(job.store, {})
    after = spanmill("status", tmp_path / "out")
    assert (after.code, "complete" in after.out, "read units 1 of 1" in " ".join(after.out.split())) == (0, True, True)
