"""What the first worker of a training run does besides its steps: it tells, judges and writes checkpoints."""

import time
from dataclasses import asdict, dataclass, field

import numpy as np
import orjson
import pyarrow as pa
from ray.util.queue import Queue

from actors.training.checkpoint_state import dump_state
from actors.training.loop import Step
from actors.training.objective import LOSSES
from actors.training.predict import answer
from actors.training.setup import TrainingSetup
from pipelines.config.training import FinetuneConfig
from pipelines.evaluation.evaluator import judge, without_abstaining
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.messages import Advance, Judged, Kept

_SAY_EVERY_SECONDS = 1.0
_HISTORY = "history.json"


@dataclass
class RankZero:
    """Follows the steps of one worker."""

    config: FinetuneConfig
    checkpoints: Checkpoints
    assembly: TrainingSetup
    held_out: pa.Table
    words: Queue
    """Takes `Advance` and `Judged`, for people."""
    _since: float = field(default_factory=time.monotonic)
    _steps: list[Step] = field(default_factory=list)

    def oversee(self, first: int) -> None:
        """Takes the steps from `first` to the last, which is kept; it and the base are judged on all held-out rows."""
        schedule, last = self.config.checkpoints, self.assembly.run.total
        sample = _spread(self.held_out, self.config.data.held_out_rows)
        if not first:
            self._judge(0, self.held_out)
        for step in self.assembly.run.steps(first):
            taken = step.number + 1
            self._tell(step, last)
            if taken == last:
                self._judge(taken, self.held_out)
            elif taken % schedule.judge_every_steps == 0:
                self._judge(taken, sample)
            if taken == last or taken % schedule.every_steps == 0:
                state = dump_state(self.assembly.student, self.assembly.run.learner, taken)
                self.checkpoints.save(taken, state)

    def _tell(self, step: Step, last: int) -> None:
        self._steps.append(step)
        seconds = time.monotonic() - self._since
        if seconds < _SAY_EVERY_SECONDS and step.number + 1 < last:
            return
        windows, tokens = (sum(getattr(s, name) for s in self._steps) for name in ("windows", "tokens"))
        losses = dict(zip(LOSSES, np.mean([s.losses for s in self._steps], axis=0).tolist(), strict=True))
        kept = Kept(losses["distance"], step.weight) if self.assembly.run.texts is not None else None
        rates = (self.assembly.run.workers * amount / seconds for amount in (windows, tokens))
        self.words.put(Advance(step.number + 1, last, losses["loss"], kept, len(self._steps) / seconds, *rates))
        self._steps.clear()
        self._since = time.monotonic()

    def _judge(self, step: int, rows: pa.Table) -> None:
        if not len(rows):
            return
        texts = (rows[name].combine_chunks() for name in ("question", "context"))
        found = answer(self.assembly.student, self.assembly.spec, self.config.qa, *texts)
        score = judge(rows, without_abstaining(found)).answerable
        judged = Judged(step, score.rows, score.em, score.f1)
        history = [*(old for old in read_history(self.checkpoints) if old.step < step), judged]
        self.checkpoints.cache(_HISTORY, orjson.dumps([asdict(entry) for entry in history]))
        self.words.put(judged)
        self._since = time.monotonic()


def _spread(rows: pa.Table, most: int) -> pa.Table:
    """Rows from all over a table: SQuAD's stand in the order of their articles."""
    return rows.take(np.linspace(0, len(rows), min(most, len(rows)), endpoint=False, dtype=np.int64))


def read_history(checkpoints: Checkpoints) -> list[Judged]:
    """All judgements of a run so far, oldest first."""
    data = checkpoints.cached(_HISTORY)
    return [] if data is None else [Judged(**entry) for entry in orjson.loads(data)]
