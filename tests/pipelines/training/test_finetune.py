"""`spanmill finetune`, held against the same training without Ray, files and commands."""

import io
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import ray
import torch
from rich.console import Console

from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.training.setup import Sources, TrainingSetup, WorkerRank, assemble
from actors.training.student import save
from pipelines.cli.main import main
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.errors import CorpusError, JobError, ManifestError
from pipelines.storage.filesystem import resolve, write_atomic
from pipelines.training.dataset import read_training_data
from pipelines.training.finetune import finetune
from tests.pipelines.jobs import mixed_rows, write_jsonl
from tests.pipelines.processes import Command, is_gone
from tests.pipelines.s3_server import S3Server

GOLDEN = Path(__file__).parents[2] / "golden" / "models"
TOO_LONG = {
    "id": "talker",
    "question": "Who? " * 200,
    "context": "Bo ground the oats.",
    "answers": {"text": ["Bo"], "answer_start": [0]},
}
SETTINGS = (
    *("training.batch_size=4", "training.learning_rate=1e-3", "qa.max_seq_len=128", "qa.doc_stride=32"),
    *("workers.cpus=1", "ray.object_store_mb=128"),
)
RESUMED = (
    *("training.epochs=1.5", "checkpoints.every_steps=6", "data.held_out_share=0.1", "data.held_out_rows=4"),
    *("training.embeddings.distance=0.01", "training.embeddings.texts=24", "checkpoints.judge_every_steps=20"),
)
SHORT = ("training.epochs=0.3", "training.dropout=0", "data.held_out_share=0", "workers.max_failures=0")


@pytest.fixture(scope="module", autouse=True)
def _cluster_ends(shared_cluster: ExitStack) -> Iterator[None]:
    """A training run that failed holds the CPU of its worker until its driver ends, which other modules would miss."""
    yield
    shared_cluster.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", [*mixed_rows(60), TOO_LONG])


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    """Commands of a test; what is left of them is ended after it."""
    started: list[Command] = []
    yield started
    for command in started:
        command.clean_up()


def _undisturbed(data: Path, config: FinetuneConfig, sources: Sources) -> TrainingSetup:
    """All steps, one after the other, in this process."""
    examples = read_training_data([str(data)], config.data).examples
    place = WorkerRank(torch.device("cpu"), threads=1)
    setup = assemble(sources, config.qa, config.training, examples, place)
    for _ in setup.loop.steps(0):
        pass
    return setup


def _typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Exit code of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.more
@pytest.mark.ray
def test_killed_it_goes_on_to_the_weights_of_an_undisturbed_run(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    untrained_model: Path,
    data: Path,
    commands: list[Command],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, kept = tmp_path / "out", tmp_path / "out" / "_checkpoints"
    settings = [word for key in (*SETTINGS, *RESUMED) for word in ("--set", key)]
    words = ("spanmill", "finetune", str(data), str(output), "--base", str(untrained_model), *settings)

    first = Command(words, tmp_path)
    commands.append(first)
    first.wait_until(lambda: any(kept.glob("*.pt")))
    first.process.kill()
    first.clean_up()
    assert is_gone(first)
    assert not (output / "config.json").exists()

    request.getfixturevalue("cluster")
    assert _typed(monkeypatch, *words) == 0
    out, err = capsys.readouterr()
    assert not kept.exists()

    config = load_config(FinetuneConfig, None, (*SETTINGS, *RESUMED))
    undisturbed = _undisturbed(data, config, Sources(untrained_model, None, False))
    save(undisturbed.student, untrained_model, tmp_path / "expected", "float32")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (output / name).read_bytes() == (tmp_path / "expected" / name).read_bytes(), name
    assert re.search(r"^the base: EM [\d.]+, F1 [\d.]+ on 8 held-out rows\nstep \d+: EM .*\nmodel: ", out), out
    left_out = "1 row left out, the question leaves too little room in a window of qa.max_seq_len tokens: talker"
    assert err.count(left_out) == 1
    card = (output / "README.md").read_text()
    assert f"* {left_out}\n" in card
    steps = [int(step) for step in re.findall(r"^\| (\d+)", card, re.MULTILINE)]
    assert steps == [0, 20, 40, 60, undisturbed.loop.total]

    # The same command finds it done; another setting is another run.
    before_bytes = {path.name: path.read_bytes() for path in output.iterdir()}
    assert _typed(monkeypatch, *words) == 0
    assert capsys.readouterr().out == f"{output} is complete; --overwrite makes it anew\n"
    assert _typed(monkeypatch, *words, "--set", "training.learning_rate=2e-3") == 1
    said = capsys.readouterr().err
    assert "belongs to another training run" in said
    assert "\n  training.learning_rate: 0.001 -> 0.002\n" in said
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before_bytes


@pytest.mark.more
@pytest.mark.usefixtures("cluster")
def test_two_workers_learn_what_one_does_from_a_teacher(
    tmp_path: Path, untrained_model: Path, data: Path, s3: S3Server
) -> None:
    """A halved student, with its output and checkpoints on S3; without dropout, shares of a batch make the batch.

    Every step keeps the embeddings of all texts, because workers have texts of their own.
    """
    storage = orjson.dumps(s3.options).decode()
    keeping = ("training.embeddings.distance=0.001", "training.embeddings.texts=4", "training.embeddings.slack=0")
    words = (
        *SETTINGS,
        *SHORT,
        *keeping,
        f"base.name={untrained_model}",
        f"teacher.name={untrained_model}",
        "halve=true",
    )
    config = load_config(FinetuneConfig, None, (*words, "workers.number=2", f"output.storage={storage}"))
    store, log = resolve("s3://bucket/model", s3.options), io.StringIO()
    for name in ("config.json", "vocab.txt", "_checkpoints/0123abcd-000000001.pt"):
        write_atomic(store.fs, store.path(name), b"of another model")
    with pytest.raises(ManifestError, match="holds a model already"):
        finetune(config, [str(data)], str(store.url), overwrite=False, console=Console(file=log))
    trained = finetune(config, [str(data)], str(store.url), overwrite=True, console=Console(file=log, width=500))
    assert (trained.was_complete, trained.history) == (False, ())

    store.fs.invalidate_cache()
    names = sorted(path.removeprefix("bucket/model/") for path in store.fs.find("bucket/model"))
    assert names == sorted(
        ["README.md", "_training.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    )
    store.fs.get("bucket/model/", f"{tmp_path}/found/", recursive=True)
    alone = _undisturbed(data, config, Sources(untrained_model, untrained_model, True))
    said = re.findall(
        r"step (\d+)/\d+ · loss ([\d.]+) · ETA [\d:]+ · distance ([\d.]+) · weight ([\d.]+) ", log.getvalue()
    )
    assert int(said[-1][0]) == alone.loop.total > 6
    assert np.isfinite(np.array(said, dtype=float)).all()
    assert float(said[-1][3]) == pytest.approx(alone.loop.trainer.weight, rel=0.02)
    assert abs(alone.loop.trainer.weight - 10.0) > 0.1

    found = load_model(tmp_path / "found", with_qa_head=True)
    alone.student.train(False)
    ids = torch.randint(5, 4000, (4, 40), generator=torch.manual_seed(1))
    base = load_model(untrained_model, with_qa_head=True)
    # As distributions: what shifts all logits alike has no gradient but the noise of sums, which Adam blows up.
    ours, theirs, before = (
        torch.log_softmax(torch.stack([said.start_logits, said.end_logits]), dim=-1)
        for said in (found(ids), alone.student(ids), base(ids))
    )
    assert torch.allclose(ours, theirs, atol=1e-3)
    assert not torch.allclose(ours, before, atol=1e-1)


@pytest.mark.more
@pytest.mark.usefixtures("cluster")
def test_a_loss_that_is_no_number_ends_the_run_with_the_mend(tmp_path: Path, untrained_model: Path, data: Path) -> None:
    broken = load_model(untrained_model, with_qa_head=True)
    with torch.no_grad():
        next(iter(broken.parameters()))[:] = float("nan")
    save(broken, untrained_model, tmp_path / "broken", "float32")
    config = load_config(FinetuneConfig, None, (*SETTINGS, *SHORT, f"base.name={tmp_path}/broken"))
    with pytest.raises(JobError, match=r"^the loss is not a number at step 0; lower training\.learning_rate"):
        finetune(config, [str(data)], str(tmp_path / "out"), overwrite=False, console=Console(file=io.StringIO()))
    # Mended settings are another run, which OUTPUT must be free for.
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def _no_base(folder: Path) -> tuple[list[str], Any, str]:
    return [f"base.name={folder}/none"], ModelError, r"base\.name: there is no folder .*/none; name another with --base"


def _teacher_without_tokenizer(folder: Path) -> tuple[list[str], Any, str]:
    teacher = folder / "teacher"
    teacher.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / "bert" / name, teacher / name)
    return [f"teacher.name={teacher}"], ModelError, "teacher holds no tokenizer"


def _windows_too_long(folder: Path) -> tuple[list[str], Any, str]:
    return ["qa.max_seq_len=1000"], ModelError, r"qa\.max_seq_len is 1000, but the model takes at most 512"


def _no_answers(folder: Path) -> tuple[list[str], Any, str]:
    nothing: dict[str, Any] = {"text": [], "answer_start": []}
    write_jsonl(folder / "a.jsonl", [{**row, "answers": nothing} for row in mixed_rows(3)])
    return [], CorpusError, r"not one of 3 rows .* has an answer"


@pytest.mark.parametrize("case", [_no_base, _teacher_without_tokenizer, _windows_too_long, _no_answers])
def test_what_cannot_be_learnt_is_said_before_ray_starts(tmp_path: Path, case: Any) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", mixed_rows(3))
    words, error, message = case(tmp_path)
    config = load_config(FinetuneConfig, None, (f"base.name={GOLDEN}/distilbert", "data.held_out_share=0", *words))
    running = ray.is_initialized()
    with pytest.raises(error, match=message):
        finetune(config, [str(path)], str(tmp_path / "out"), overwrite=False, console=Console(file=io.StringIO()))
    assert ray.is_initialized() == running
    assert not (tmp_path / "out").exists()
