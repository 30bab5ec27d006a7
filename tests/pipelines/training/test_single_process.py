"""A training run without Ray: the same weights as the loop alone, and what a run leaves behind."""

import io
import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console

from actors.training.setup import Sources, WorkerRank, assemble
from actors.training.student import save
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.training.dataset import read_training_data
from pipelines.training.finetune import finetune
from pipelines.training.single_process import fit_here
from tests.actors.helpers import GOLDEN
from tests.pipelines.jobs import mixed_rows, write_jsonl

DISTILBERT, BERT = (GOLDEN / "models" / name for name in ("distilbert", "bert"))
WORDS = (
    *("training.batch_size=4", "training.steps=6", "training.average_last=0.4", "training.learning_rate=1e-3"),
    *(
        "qa.max_seq_len=64",
        "qa.doc_stride=16",
        "data.held_out_share=0.2",
        "workers.cpus=1",
        "checkpoints.every_steps=2",
    ),
    *(f"base.name={DISTILBERT}", f"teacher.name={BERT}"),
)
TALKER = {
    "id": "talker",
    "question": "Who? " * 200,
    "context": "Bo ground the oats.",
    "answers": {"text": ["Bo"], "answer_start": [0]},
}


def test_a_run_ends_with_the_weights_of_the_loop(tmp_path: Path) -> None:
    data, log = write_jsonl(tmp_path / "rows.jsonl", [*mixed_rows(24), TALKER]), io.StringIO()
    config = load_config(FinetuneConfig, None, WORDS)
    console = Console(file=log, width=200)
    trained = finetune(config, [str(data)], str(tmp_path / "out"), overwrite=False, console=console, fit=fit_here)
    assert [score.step for score in trained.history] == [0, 6]
    examples = read_training_data([str(data)], config.data).examples
    place = WorkerRank(torch.device("cpu"), threads=1)
    alone = assemble(Sources(DISTILBERT, BERT, False), config.qa, config.training, examples, place)
    assert len(list(alone.loop.steps(0))) == 6
    save(alone.student, DISTILBERT, tmp_path / "expected", "float32")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "expected")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "out" / "_checkpoints").exists()
    said = log.getvalue()
    assert "the teacher has another tokenizer: " in said
    assert "1 row left out, the question leaves too little room" in said
    assert "talker" in (tmp_path / "out" / "README.md").read_text()
    again = finetune(config, [str(data)], str(tmp_path / "out"), overwrite=False, console=console, fit=fit_here)
    assert again.was_complete


def test_it_imports_no_ray() -> None:
    code = (
        "import sys; sys.modules['ray'] = None; import pipelines.training.finetune, pipelines.training.single_process"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
