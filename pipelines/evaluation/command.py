"""`spanmill evaluate`: runs an answer job over labelled examples and scores its answers by SQuAD's official rules."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import orjson
import pyarrow.compute as pc

from pipelines.config.job import AnswerConfig
from pipelines.console import open_console
from pipelines.evaluation.breakdown import breakdown
from pipelines.evaluation.evaluator import evaluate_predictions
from pipelines.evaluation.predictions import predict
from pipelines.evaluation.squad import read_examples
from pipelines.evaluation.tables import Evaluation, group_table, report_of, totals_table
from pipelines.storage.filesystem import resolve, write_atomic
from pipelines.words import counted


def evaluate(
    config: AnswerConfig,
    inputs: Sequence[str],
    limit: int | None = None,
    report: str | None = None,
    predictions: str | None = None,
    overwrite: bool = False,
) -> int:
    """Runs `spanmill evaluate`: prints the scores, and writes them to `report` as JSON.

    Args:
        predictions: folder that keeps the examples and the job's output; None uses a temporary one on this machine.
        overwrite: replace what another job wrote to that folder.

    Returns:
        The exit code, `Outcome.exit_code`.

    Raises:
        SpanmillError, ModelError: data or model cannot be used, the report cannot be written, or the job fails.
    """
    notes = open_console(stderr=True)
    read = read_examples(inputs, config.corpus.storage)
    for warning in read.warnings:
        notes.print(warning)
    examples = read.examples if limit is None else read.examples.slice(0, limit)
    may_abstain = pc.any(pc.equal(pc.list_value_length(examples["answer_texts"]), 0)).as_py()
    notes.print(f"{counted(len(examples), 'example')}{', some without an answer' if may_abstain else ''}")
    with _folder(predictions) as folder:
        predicted = predict(examples, config, folder, may_abstain, overwrite, notes)
    scores = evaluate_predictions(examples, predicted.predictions)
    evaluation = Evaluation(read, len(examples), limit, predicted, scores, breakdown(examples, scores.rows))
    console = open_console()
    totals_table(evaluation).print_to(console)
    console.print()
    console.print(group_table(evaluation))
    if report is not None:
        store = resolve(report, config.output.storage)
        write_atomic(store.fs, store.root, orjson.dumps(report_of(evaluation), option=orjson.OPT_INDENT_2))
        notes.print(f"report: {store.url}")
    return predicted.outcome.exit_code


@contextmanager
def _folder(kept: str | None) -> Iterator[str]:
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="spanmill-") as folder:
        yield folder
