"""The whole recipe of the model that ships: its teacher, views of the data, the student, its scores and its card.

    python -m models.train_minilm_qa FOLDER --train qa-train.jsonl.gz --held-out qa-dev.jsonl.gz

Each step leaves what it made in FOLDER. The next call passes over what is there and goes on where this one stopped.
README.md beside this file says what was measured, and how to do it on a machine that fetches nothing.
"""

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import pyarrow.parquet as pq
import torch
import typer
from rich.console import Console

from actors.errors import ModelError
from actors.training.parameters import TrainingParameters
from actors.training.setup import WorkerRank, assemble
from models.compare_embeddings import Closeness
from models.fetch_encoders import fetch_base, fetch_encoder
from models.judging import Reading, closeness, read
from models.make_mixture import SEED, mix
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.errors import SpanmillError
from pipelines.evaluation.squad import read_examples
from pipelines.output.manifest import flat_keys
from pipelines.storage.atomic_write import replace_file
from pipelines.templates import render
from pipelines.training.dataset import read_training_data
from pipelines.training.finetune import finetune
from pipelines.training.run_manifest import RUN_MANIFEST_NAME
from pipelines.training.single_process import fit_here
from pipelines.training.worker import find_sources

HERE = Path(__file__).parent
_SAMPLES = HERE.parent / "samples" / "corpus.parquet"
_TRIAL_ROWS, _TRIAL_WARMUP, _TRIAL_STEPS = 2000, 20, 40


@dataclass(frozen=True)
class Scores:
    """What is known of a model that was made."""

    teacher: Reading
    student: Reading
    on_passages: Closeness
    """Of the embeddings of the held-out passages to the base's."""
    on_samples: Closeness
    """Of those of the sample corpus, which is of another kind than what was learnt from."""


@dataclass(frozen=True)
class Recipe:
    """The steps, and the folder that holds what they make."""

    folder: Path
    train: Path
    held_out: Path
    console: Console

    def views(self, number: int, rows: int | None, unanswerable_times: int) -> list[Path]:
        """Files of training rows, of which each crops the passages in its own way."""
        with gzip.open(self.train, "rt", encoding="utf-8") as lines:
            source = [json.loads(line) for line in islice(lines, rows)]
        paths = [self.folder / "views" / f"{view}.jsonl" for view in range(number)]
        for view, path in enumerate(paths):
            made = mix(source, SEED + view, unanswerable_times)
            _write_if_new(path, "".join(json.dumps(row) + "\n" for row in made).encode())
        return paths

    def trained(self, name: str, words: Sequence[str], views: Sequence[Path], seconds: float | None) -> Path:
        """The folder of the teacher or of the student, when it is trained.

        Args:
            name: of the folder, and of the config beside this file.
            words: KEY=VALUE for the config.
            seconds: that the steps are to take; None means that the config or `words` name the steps.
        """
        folder, inputs = self.folder / name, [str(path) for path in views]
        words = (f"data.held_out=[{json.dumps(str(self.held_out))}]", *words)
        if seconds is not None:
            words = (*words, f"training.steps={self._steps(name, words, inputs, seconds)}")
        config = load_config(FinetuneConfig, HERE / f"{name}.yaml", words)
        finetune(config, inputs, str(folder), overwrite=False, console=self.console, fit=fit_here)
        return folder

    def _steps(self, name: str, words: Sequence[str], inputs: Sequence[str], seconds: float) -> int:
        """As many as so many seconds have; measured once, because a run that goes on must have the same number."""
        path = self.folder / f"{name}-steps.json"
        if not path.exists():
            each = _seconds_of_a_step(load_config(FinetuneConfig, HERE / f"{name}.yaml", words), inputs)
            steps = max(int(seconds / each), 1)
            self.console.print(f"{name}: {1000 * each:.1f} ms a step, {steps:,} steps")
            _write_if_new(path, json.dumps({"steps": steps, "seconds": seconds, "seconds_of_a_step": each}).encode())
        plan = json.loads(path.read_bytes())
        if plan["seconds"] != seconds:
            self.console.print(
                f"--{name}-seconds {seconds:g} is not used: {path} has {plan['steps']:,} steps, planned for "
                f"{plan['seconds']:g} seconds. To plan anew, remove it and {self.folder / name}"
            )
        return int(plan["steps"])

    def scores(self, base: Path, teacher: Path, student: Path) -> Scores:
        """Judges teacher and student on the held-out rows, and the student's embeddings."""
        examples = read_examples([str(self.held_out)], {}).examples
        passages, samples = (
            table["context"].combine_chunks().unique() for table in (examples, pq.read_table(_SAMPLES))
        )
        found = Scores(
            read(teacher, examples),
            read(student, examples),
            closeness(student, base, passages),
            closeness(student, base, samples),
        )
        _write_if_new(self.folder / "scores.json", json.dumps(asdict(found), indent=2).encode())
        return found

    def model(self, teacher: Path, student: Path, scores: Scores, mixing: dict[str, int]) -> Path:
        """The folder that can take the place of the model that ships: the student with its card.

        Args:
            mixing: how the rows were mixed: `views`, the number of them, and `unanswerable_times`.
        """
        made = self.folder / "model"
        partial = self.folder / "model.part"
        for folder in (made, partial):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(student, partial, ignore=shutil.ignore_patterns("_*"))
        values = {"scores": scores, "facts": mixing | {"teacher": _facts(teacher), "student": _facts(student)}}
        (partial / "README.md").write_text(render("models", "minilm_qa_card.md.j2", values), encoding="utf-8")
        partial.rename(made)
        return made


def main(
    folder: Annotated[Path, typer.Argument(help="Where everything is made.")],
    train: Annotated[Path, typer.Option(help="Training rows with SQuAD's fields and a source, JSONL in gzip.")],
    held_out: Annotated[Path, typer.Option(help="Rows to judge by, likewise.")],
    base: Annotated[Path | None, typer.Option(help="Student's base; FOLDER/base, fetched if need be.")] = None,
    encoder: Annotated[Path | None, typer.Option(help="Teacher's base; FOLDER/encoder, likewise.")] = None,
    views: Annotated[int, typer.Option(min=1, help="Ways in which passages are cropped.")] = 4,
    rows: Annotated[int | None, typer.Option(min=1, help="Only so many training rows.")] = None,
    unanswerable_times: Annotated[int, typer.Option(min=1, help="Times that a view has an unanswerable row.")] = 3,
    teacher_seconds: Annotated[float | None, typer.Option(min=0.1, help="Instead of the config's steps.")] = None,
    student_seconds: Annotated[float | None, typer.Option(min=0.1, help="Likewise.")] = None,
    set_teacher: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for teacher.yaml.")] = None,
    set_student: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for student.yaml.")] = None,
) -> None:
    """Makes the model from its rows, or goes on with what FOLDER holds."""
    if torch.cuda.is_available():
        # It plans anew for every new shape of a batch, which took 320 ms a step at first on an H200.
        torch.backends.cuda.enable_cudnn_sdp(False)
    recipe = Recipe(folder, train, held_out, Console(highlight=False, soft_wrap=True))
    base, encoder = base or folder / "base", encoder or folder / "encoder"
    for wanted, fetch in ((base, fetch_base), (encoder, fetch_encoder)):
        if not wanted.is_dir():
            fetch(wanted)
    files = recipe.views(views, rows, unanswerable_times)
    # The teacher takes few steps: half of the views are more rows than it has time for.
    words = [f"base.name={encoder}", *(set_teacher or [])]
    teacher = recipe.trained("teacher", words, files[: -(-views // 2)], teacher_seconds)
    words = [f"base.name={base}", f"teacher.name={teacher}", *(set_student or [])]
    student = recipe.trained("student", words, files, student_seconds)
    scores = recipe.scores(base, teacher, student)
    made = recipe.model(teacher, student, scores, {"views": views, "unanswerable_times": unanswerable_times})
    for line in _verdict(scores):
        recipe.console.print(line)
    recipe.console.print(f"model: {made}")


def _seconds_of_a_step(config: FinetuneConfig, inputs: Sequence[str]) -> float:
    """Mean of some steps on a part of the rows, after others that warm up; nothing of it is kept."""
    examples = read_training_data(inputs[:1], config.data).examples.slice(0, _TRIAL_ROWS)
    settings = config.training.model_copy(update={"steps": _TRIAL_WARMUP + _TRIAL_STEPS})
    setup = assemble(find_sources(config), config.qa, settings, examples, WorkerRank.alone())
    steps = setup.loop.steps(0)
    for _ in islice(steps, _TRIAL_WARMUP):
        pass
    started = perf_counter()
    taken = sum(1 for _ in steps)
    return (perf_counter() - started) / taken


def _facts(folder: Path) -> dict[str, Any]:
    """What a finished training's manifest says of it, by dotted key; a key that it leaves out has its default."""
    keys: dict[str, str] = json.loads((folder / RUN_MANIFEST_NAME).read_bytes())["keys"]
    defaults = flat_keys({"training": TrainingParameters().model_dump()})
    return defaults | {key: json.loads(value) for key, value in keys.items()}


def _verdict(scores: Scores) -> list[str]:
    """What the model has to reach before it takes the place of the one that ships, and what it has."""
    squad = scores.student.answered.get("squad")
    wanted = (
        ("F1 on squad", squad.f1 if squad else float("nan"), 75.0),
        ("cosine to the base", scores.on_passages.mean, 0.97),
        ("cosine on the sample corpus", scores.on_samples.mean, 0.96),
        ("abstains rightly, percent", scores.student.abstains, 40.0),
    )
    return [f"{name}: {found:.3f}, at least {least:g} wanted" for name, found, least in wanted]


def _write_if_new(path: Path, data: bytes) -> None:
    """Writes a file that does not hold these bytes yet; one that does keeps its time, by which a run knows its rows."""
    if not path.exists() or path.read_bytes() != data:
        replace_file(str(path), data)


def run() -> None:
    """The command: `main`, whose errors are a line each."""
    try:
        typer.run(main)
    except (SpanmillError, ModelError) as error:
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False)
        raise SystemExit(1) from error


if __name__ == "__main__":
    run()
