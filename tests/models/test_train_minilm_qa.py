"""The recipe of the model that ships, from rows to the card, with small models of the same kinds."""

import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForQuestionAnswering, BertModel, MPNetConfig, MPNetModel, PreTrainedTokenizerFast

from models import make_base
from models.make_untrained import make_vocabulary, read_texts
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from tests.pipelines.jobs import mixed_rows

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


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_its_configs_are_configs_of_finetune(name: str) -> None:
    config = load_config(FinetuneConfig, ROOT / "models" / f"{name}.yaml", ())
    assert config.training.steps is not None
    assert config.output.dtype == "float16"
    assert (config.training.embeddings.distance is not None) == (name == "student")
