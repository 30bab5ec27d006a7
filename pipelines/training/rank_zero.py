"""The worker of rank zero: besides its steps it reports progress, judges held-out rows and writes checkpoints.

The others take the same steps, and answer their share of the rows that it judges.
"""

import time
from dataclasses import asdict, dataclass, field
from itertools import chain

import numpy as np
import orjson
import pyarrow as pa

from actors.training.checkpoint_state import dump_state
from actors.training.loop import Step
from actors.training.objective import LOSSES
from actors.training.predict import predict_together
from actors.training.setup import TrainingSetup
from pipelines.config.training import FinetuneConfig
from pipelines.evaluation.evaluator import evaluate_predictions, without_abstaining
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.messages import EmbeddingDrift, HeldOutScores, Messages, StepProgress

_REPORT_EVERY_SECONDS = 1.0
_HISTORY = "history.json"


@dataclass(frozen=True)
class JudgedRows:
    """Which held-out rows are judged when; every worker must know it, since all of them answer a share."""

    config: FinetuneConfig
    held_out: pa.Table
    last: int
    """Steps of the run."""

    def after(self, taken: int) -> pa.Table:
        """The rows that are judged after so many steps; none after most."""
        if taken in (0, self.last):
            return self.held_out
        if taken % self.config.checkpoints.judge_every_steps:
            return self.held_out.slice(0, 0)
        return _spread(self.held_out, self.config.data.held_out_rows)


def predict_rows(config: FinetuneConfig, setup: TrainingSetup, rows: pa.Table) -> pa.StringArray:
    """The student's answers to all rows, of which this worker finds its share."""
    texts = (rows[name].combine_chunks() for name in ("question", "context"))
    return predict_together(setup.student, setup.spec, config.qa, *texts)


def follow(config: FinetuneConfig, setup: TrainingSetup, held_out: pa.Table, first: int) -> None:
    """Trains as a worker that is not of rank zero: takes the same steps, and answers its share of the judged rows."""
    rows = JudgedRows(config, held_out, setup.loop.total)
    steps = (step.number + 1 for step in setup.loop.steps(first))
    for taken in chain([] if first else [0], steps):
        if len(judged := rows.after(taken)):
            predict_rows(config, setup, judged)


@dataclass
class RankZero:
    """Trains as every worker does, and does the work that a run needs once."""

    config: FinetuneConfig
    checkpoints: Checkpoints
    setup: TrainingSetup
    held_out: pa.Table
    messages: Messages
    """Takes `StepProgress` and `HeldOutScores`, which the driver shows."""
    _since: float = field(default_factory=time.monotonic)
    _steps: list[Step] = field(default_factory=list)

    def train(self, first: int) -> None:
        """Takes the steps from `first` to the last, and writes the last one's checkpoint.

        The base and the last step are evaluated on all held-out rows, the steps between them on a sample.
        """
        schedule, last = self.config.checkpoints, self.setup.loop.total
        rows = JudgedRows(self.config, self.held_out, last)
        if not first:
            self._evaluate(0, rows.after(0))
        for step in self.setup.loop.steps(first):
            taken = step.number + 1
            self._report(step, last)
            self._evaluate(taken, rows.after(taken))
            if taken == last or taken % schedule.every_steps == 0:
                state = dump_state(self.setup.student, self.setup.loop.trainer, taken)
                self.checkpoints.save(taken, state)

    def _report(self, step: Step, last: int) -> None:
        self._steps.append(step)
        seconds = time.monotonic() - self._since
        if seconds < _REPORT_EVERY_SECONDS and step.number + 1 < last:
            return
        windows, tokens = (sum(getattr(s, name) for s in self._steps) for name in ("windows", "tokens"))
        losses = dict(zip(LOSSES, np.mean([s.losses for s in self._steps], axis=0).tolist(), strict=True))
        embeddings = EmbeddingDrift(losses["distance"], step.weight) if self.setup.loop.texts is not None else None
        rates = (self.setup.loop.workers * amount / seconds for amount in (windows, tokens))
        self.messages.put(
            StepProgress(step.number + 1, last, losses["loss"], embeddings, len(self._steps) / seconds, *rates)
        )
        self._steps.clear()
        self._since = time.monotonic()

    def _evaluate(self, step: int, rows: pa.Table) -> None:
        if not len(rows):
            return
        found = predict_rows(self.config, self.setup, rows)
        score = evaluate_predictions(rows, without_abstaining(found)).answerable
        scores = HeldOutScores(step, score.rows, score.em, score.f1)
        history = [*(old for old in read_history(self.checkpoints) if old.step < step), scores]
        self.checkpoints.cache(_HISTORY, orjson.dumps([asdict(entry) for entry in history]))
        self.messages.put(scores)
        self._since = time.monotonic()


def _spread(rows: pa.Table, most: int) -> pa.Table:
    """At most `most` rows at even distances, because SQuAD's rows are sorted by article."""
    return rows.take(np.linspace(0, len(rows), min(most, len(rows)), endpoint=False, dtype=np.int64))


def read_history(checkpoints: Checkpoints) -> list[HeldOutScores]:
    """All held-out scores of a run so far, oldest first."""
    data = checkpoints.cached(_HISTORY)
    return [] if data is None else [HeldOutScores(**entry) for entry in orjson.loads(data)]
