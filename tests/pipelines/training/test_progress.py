"""What a person sees of a training run."""

import io

from rich.console import Console

from pipelines.evaluation.squad import InvalidReason, SkippedRows
from pipelines.training.messages import EmbeddingDrift, HeldOutScores, StepProgress, TeacherAlignment
from pipelines.training.progress import TrainingProgress


def _advance(step: int, kept: EmbeddingDrift | None = None) -> StepProgress:
    return StepProgress(step, 1500, 2.34567, kept, 2.5, 40.0, 12345.6)


def test_a_log_has_a_line_of_the_first_and_the_last_step_and_of_every_judgement() -> None:
    log = io.StringIO()
    with TrainingProgress(Console(file=log, width=200)) as progress:
        progress.add(SkippedRows(InvalidReason.NO_QUESTION, 2, ("a", "b")))
        progress.add(TeacherAlignment(0.98765, 12_345, 0))
        progress.add(TeacherAlignment(0.5, 12_345, 1_002))
        progress.add(TeacherAlignment(None, 12, 1))
        progress.add(HeldOutScores(0, 1234, 1.25, 2.5))
        for step in (100, 101, 102):
            progress.add(_advance(step))
        progress.add(_advance(1500, EmbeddingDrift(0.01234, 17.38)))
    assert log.getvalue().splitlines() == [
        "2 rows left out, no question: a, b",
        "the teacher has another tokenizer: 98.8% of its tokens are the base's too",
        "the teacher has another tokenizer: 50.0% of its tokens are the base's too; "
        "windows that are learnt from by their labels alone: 1,002 of 12,345",
        "windows that are learnt from by their labels alone: 1 of 12",
        "step 0: EM 1.2, F1 2.5 on 1,234 held-out rows",
        "step 100/1,500 · loss 2.346 · ETA 9:20 · 40.0 rows/s · 12,346 tokens/s",
        "step 1,500/1,500 · loss 2.346 · ETA 0:00 · distance 0.0123 · weight 17.4 · 40.0 rows/s · 12,346 tokens/s",
    ]


def test_a_terminal_has_one_line_that_moves() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=200, force_terminal=True, highlight=False)
    with TrainingProgress(console) as progress:
        progress.add(_advance(100))
        progress.add(HeldOutScores(100, 12, 1.0, 2.0))
        progress.add(StepProgress(101, 90_000, 2.0, None, 2.0, 40.0, 1.0))
        assert "step 101/90,000 · loss 2.000 · ETA 12:29:09 · 40.0 rows/s · 1 tokens/s" in progress._text().plain
    assert "step 100: EM 1.0, F1 2.0 on 12 held-out rows" in shown.getvalue()
