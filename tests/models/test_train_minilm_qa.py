"""The recipe of the model that ships, from rows to the card, with small models of the same kinds."""

import gzip
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForQuestionAnswering, BertModel, MPNetConfig, MPNetModel, PreTrainedTokenizerFast

from models import make_base
from models.compare_embeddings import Closeness
from models.judging import Reading
from models.make_untrained import make_vocabulary, read_texts
from models.train_minilm_qa import Recipe, Scores
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.evaluation.evaluator import Score
from pipelines.storage.filesystem import Store
from pipelines.storage.url import Url
from pipelines.training.run_manifest import TrainingManifest, bind_training
from tests.pipelines.jobs import mixed_rows, write_jsonl

ROOT = Path(__file__).parents[2]
BERT = ROOT / "tests" / "golden" / "models" / "bert"
SOURCES = ("squad", "squad-unanswerable", "qamr", "qed")
SMALL = (
    *("training.batch_size=4", "training.warmup_steps=1", "qa.max_seq_len=128", "qa.doc_stride=32"),
    *("checkpoints.every_steps=4", "workers.cpus=1"),
)
_WITHOUT_RAY = "import sys; sys.modules['ray'] = None; from models.train_minilm_qa import run; run()"


def _rows(path: Path, count: int) -> Path:
    """Rows of the sample corpus, as if they came from the sources of the real ones."""
    rows = []
    for number, row in enumerate(mixed_rows(count)):
        source = SOURCES[number % len(SOURCES)]
        nothing: dict[str, list[object]] = {"text": [], "answer_start": []}
        rows.append({**row, "source": source} | ({"answers": nothing} if source.endswith("unanswerable") else {}))
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _mpnet(folder: Path) -> Path:
    """An encoder of all-mpnet-base-v2's kind, of two layers, whose special tokens are not BERT's."""
    words = make_vocabulary(read_texts(ROOT / "samples" / "corpus.jsonl"))
    vocabulary = {
        word: place for place, word in enumerate(dict.fromkeys(("<s>", "<pad>", "</s>", "[UNK]", "<mask>", *words)))
    }
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    specials = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "[UNK]"}
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, model_max_length=512, **specials
    )
    torch.manual_seed(7)
    config = MPNetConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    MPNetModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def _base(folder: Path) -> Path:
    """A small BERT, made into the student's base as the real one is."""
    source = folder.with_name("bert")
    shutil.copytree(BERT, source)
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    last = next(word for word, number in words.items() if number == 899)
    words[make_base.PAIR_MARK] = words.pop(last)
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert BertModel.from_pretrained(source).config.hidden_size == 32
    make_base.main(source, folder)
    return folder


def _make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    options = [f"--set-teacher={word}" for word in (*SMALL, "training.steps=6")]
    options += [f"--set-student={word}" for word in (*SMALL, "training.steps=10", "training.average_last=0.3")]
    options += ["--set-student=training.embeddings.texts=40", "--set-student=training.embeddings.texts_per_step=4"]
    options += ["--train", str(folder / "train.jsonl.gz"), "--held-out", str(folder / "dev.jsonl.gz"), "--views", "2"]
    options += ["--base", str(folder / "base"), "--encoder", str(folder / "mpnet"), "--unanswerable-times", "2"]
    command = [sys.executable, "-c", _WITHOUT_RAY, str(folder / "out"), *options, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _recipe(folder: Path, log: io.StringIO) -> Recipe:
    held_out = write_jsonl(folder / "dev.jsonl", mixed_rows(4))
    return Recipe(folder, folder / "train.jsonl.gz", held_out, Console(file=log, width=500, soft_wrap=True))


@pytest.mark.more
def test_the_whole_recipe_without_ray_and_once_more(tmp_path: Path) -> None:
    _rows(tmp_path / "train.jsonl.gz", 64)
    _rows(tmp_path / "dev.jsonl.gz", 16)
    _mpnet(tmp_path / "mpnet")
    _base(tmp_path / "base")
    # A student that is refused: by then the teacher is there, and the next call leaves it as it is.
    refused = _make(tmp_path, "--set-student=qa.max_seq_len=5000")
    assert refused.returncode != 0
    assert "qa.max_seq_len is 5000" in refused.stderr
    out = tmp_path / "out"
    weights = (out / "teacher" / "model.safetensors").read_bytes()
    assert not (out / "student" / "config.json").exists()

    done = _make(tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "the teacher has another tokenizer: " in said
    assert "cosine to the base: " in said
    assert (out / "teacher" / "model.safetensors").read_bytes() == weights
    scores = json.loads((out / "scores.json").read_text())
    assert set(scores["student"]["answered"]) == {"squad", "qamr", "qed"}
    assert scores["student"]["everything"]["rows"] == 12
    model = out / "model"
    assert not list(model.glob("_*"))
    assert AutoModelForQuestionAnswering.from_pretrained(model).config.model_type == "distilbert"
    card = (model / "README.md").read_text()
    assert "The teacher: all-mpnet-base-v2, 6 steps of 4 windows" in card
    assert "The student: 10 steps of 4 windows" in card
    of_squad = scores["student"]["answered"]["squad"]
    assert re.search(
        rf"^\| SQuAD, answerable \| 4 \|.* {of_squad['em']:.1f} \| \*\*{of_squad['f1']:.1f}\*\* \|$", card, re.M
    )
    view = [json.loads(line) for line in (out / "views" / "0.jsonl").read_text().splitlines()]
    unanswerable = gzip.decompress((tmp_path / "train.jsonl.gz").read_bytes()).count(b"squad-unanswerable")
    assert sum(row["source"] == "squad-unanswerable" for row in view) == 2 * unanswerable > 0
    assert (out / "views" / "1.jsonl").read_text() != (out / "views" / "0.jsonl").read_text()

    before = {path: path.stat().st_mtime_ns for path in (out / "student").iterdir()}
    again = _make(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "step 1/" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (out / "student").iterdir()} == before


@pytest.mark.more
def test_steps_are_as_many_as_the_seconds_have_and_stay_so(tmp_path: Path) -> None:
    _rows(tmp_path / "train.jsonl.gz", 64)
    _rows(tmp_path / "dev.jsonl.gz", 16)
    _mpnet(tmp_path / "mpnet")
    _base(tmp_path / "base")
    done = _make(tmp_path, "--teacher-seconds", "0.2", "--student-seconds", "0.2")
    assert done.returncode == 0, done.stderr
    plans = {name: json.loads((tmp_path / "out" / f"{name}-steps.json").read_text()) for name in ("teacher", "student")}
    for plan in plans.values():
        assert plan["steps"] == max(int(0.2 / plan["seconds_of_a_step"]), 1)
    again = _make(tmp_path, "--teacher-seconds", "0.2", "--student-seconds", "0.2")
    assert again.returncode == 0, again.stderr
    assert "ms a step" not in again.stdout


def test_other_seconds_than_those_that_were_planned_for_are_not_used_and_that_is_said(tmp_path: Path) -> None:
    log = io.StringIO()
    recipe = _recipe(tmp_path, log)
    rows = write_jsonl(tmp_path / "rows.jsonl", mixed_rows(12))
    (tmp_path / "teacher-steps.json").write_text('{"steps": 2, "seconds": 5.0, "seconds_of_a_step": 2.5}')
    for seconds in (5.0, 7.5):
        made = recipe.trained("teacher", (*SMALL, f"base.name={BERT}"), [rows], seconds)
        assert (made / "config.json").exists()
    (said,) = re.findall("--.*", log.getvalue())
    assert said == (
        f"--teacher-seconds 7.5 is not used: {tmp_path / 'teacher-steps.json'} has 2 steps, planned for 5 seconds. "
        f"To plan anew, remove it and {tmp_path / 'teacher'}"
    )
    assert json.loads((made / "_training.json").read_bytes())["keys"]["training.steps"] == "2"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (("training.steps=null", "training.average_last=0"), ("1.5 epochs of 9 windows", "student.yaml`).")),
        (
            ("training.steps=1234", "training.average_last=0.25"),
            (
                "1,234 steps of 9 windows",
                "student.yaml`). Its weights are the mean over the last 25 % of the steps.",
            ),
        ),
    ],
)
def test_the_card_says_how_long_both_were_trained(tmp_path: Path, words: Sequence[str], lines: Sequence[str]) -> None:
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    for folder in (teacher, student):
        usual = ("training.epochs=1.5", "training.batch_size=9")
        config = load_config(FinetuneConfig, ROOT / "models" / f"{folder.name}.yaml", (*usual, *words))
        manifest = TrainingManifest.of(config, "base", "teacher", [], 0)
        bind_training(Store(Url(str(folder))), manifest, overwrite=False)
    score, close = Score(4, 50.0, 60.0), Closeness(0.9, 0.8, 0.7)
    reading = Reading({"squad": score}, score, 40.0, 90.0)
    recipe, scores = _recipe(tmp_path, io.StringIO()), Scores(reading, reading, close, close)
    made = recipe.model(teacher, student, scores, {"views": 3, "unanswerable_times": 2})
    card = (made / "README.md").read_text()
    length, end = lines
    assert f"The teacher: all-mpnet-base-v2, {length}" in card
    assert f"The student: {length}" in card
    assert f"{end}\n\n## What it was made from" in card
    assert "3 views of the rows" in card


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_its_configs_are_configs_of_finetune(name: str) -> None:
    config = load_config(FinetuneConfig, ROOT / "models" / f"{name}.yaml", ())
    assert config.training.steps is not None
    assert config.output.dtype == "float16"
    assert (config.training.embeddings.distance is not None) == (name == "student")
