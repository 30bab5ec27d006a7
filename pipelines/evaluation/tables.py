"""The results of an evaluation, as tables for the terminal and as a JSON report."""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from rich.table import Table

from actors.version import release
from pipelines.console import Pairs
from pipelines.evaluation.evaluator import ABSTAIN_ABOVE, AbstainingScores, PredictionScores, Score
from pipelines.evaluation.predictions import JobPredictions
from pipelines.evaluation.squad import Examples
from pipelines.words import counted


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation, with the data and the job behind them."""

    read: Examples
    rows: int
    """Examples that were scored."""
    limit: int | None
    predicted: JobPredictions
    scores: PredictionScores
    groups: pa.Table
    """BREAKDOWN_SCHEMA."""

    @property
    def rows_per_second(self) -> float | None:
        """After the first commit of this run, or in the passes where it had one shard; None where nothing ran."""
        outcome = self.predicted.outcome
        seconds = outcome.tally.stats.total.seconds
        return outcome.rate or (outcome.tally.rows / seconds if seconds else None)


def totals_table(evaluation: Evaluation) -> Pairs:
    """Scores over all rows, and the model and speed of the run."""
    scores, outcome, job = evaluation.scores, evaluation.predicted.outcome, evaluation.predicted.job
    table = Pairs()
    table.add("rows", f"{evaluation.rows:,}")
    left_out = sum(one.rows for one in evaluation.read.left_out)
    if left_out:
        table.add("left out", f"{counted(left_out, 'row')} of the data")
    if outcome.counts.quarantined:
        table.add("quarantined", f"{counted(outcome.counts.quarantined, 'row')}, judged as if the answer were empty")
    table.add("EM answerable", _over(scores.answerable, scores.answerable.em))
    table.add("F1 answerable", _over(scores.answerable, scores.answerable.f1))
    if scores.abstaining is not None:
        _add_abstaining(table, scores.abstaining)
    if evaluation.rows_per_second:
        table.add("rows/s", f"{evaluation.rows_per_second:,.1f}")
    table.add("whole run", f"{outcome.seconds:.1f} s, with the start of Ray and model")
    table.add("model", f"{job.model_name}  fingerprint {job.model.fingerprint[:12]}")
    return table


def _add_abstaining(table: Pairs, found: AbstainingScores) -> None:
    table.add("EM abstaining", _over(found.total, found.total.em))
    table.add("F1 abstaining", _over(found.total, found.total.f1))
    table.add("  answerable", f"EM {_figure(found.answerable.em)}  F1 {_figure(found.answerable.f1)}")
    table.add("  unanswerable", f"{_figure(found.unanswerable.em)}  of {counted(found.unanswerable.rows, 'row')}")
    for name, best in (("EM", found.best_em), ("F1", found.best_f1)):
        note = f"abstaining above {best.threshold:.3f} instead of {ABSTAIN_ABOVE}"
        table.add(f"best {name}", f"{best.score:.1f}  {note}")


def group_table(evaluation: Evaluation) -> Table:
    """Scores by group: without abstaining, and with it where the probability of "no answer" is known."""
    abstains = evaluation.scores.abstaining is not None
    table = Table(box=None, pad_edge=False)
    for name in ("by", "group"):
        table.add_column(name)
    for name in ("answerable", "EM", "F1", *(("all", "EM abst.", "F1 abst.") if abstains else ())):
        table.add_column(name, justify="right")
    before = None
    for row in evaluation.groups.to_pylist():
        cells = [f"{row['answerable']:,}", _figure(row["em"]), _figure(row["f1"])]
        if abstains:
            cells += [f"{row['all']:,}", _figure(row["em_abstaining"]), _figure(row["f1_abstaining"])]
        table.add_row("" if before == row["by"] else row["by"], row["group"], *cells)
        before = row["by"]
    return table


def report_of(evaluation: Evaluation) -> dict[str, Any]:
    """The JSON report: scores in percent, null where there is no row, and the data and settings to repeat the run."""
    read, scores = evaluation.read, evaluation.scores
    outcome, job = evaluation.predicted.outcome, evaluation.predicted.job
    files = [
        {"name": file.name, "url": str(file.url), "bytes": file.size, "version": file.version} for file in read.files
    ]
    left_out = [{"flaw": one.reason, "rows": one.rows, "places": one.places} for one in read.left_out]
    return {
        "model": {"name": job.model_name, "fingerprint": job.model.fingerprint},
        "data": {"files": files, "left_out": left_out, "answers_dropped": read.answers_dropped},
        "settings": {
            **job.config.model_dump(mode="json", include={"qa"}),
            "model": {
                **job.config.model.model_dump(include={"backend", "precision", "device"}),
                "dtype": job.model.precision.dtype,
            },
            "limit": evaluation.limit,
        },
        "rows": evaluation.rows,
        "quarantined": {"rows": outcome.counts.quarantined, "reasons": outcome.counts.reasons},
        "answerable": asdict(scores.answerable),
        "abstaining": None if scores.abstaining is None else asdict(scores.abstaining),
        "groups": evaluation.groups.to_pylist(),
        "seconds": outcome.seconds,
        "rows_per_second": evaluation.rows_per_second,
        "spanmill": release(),
    }


def _over(score: Score, figure: float) -> str:
    return f"{_figure(figure)}  of {counted(score.rows, 'row')}"


def _figure(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.1f}"
