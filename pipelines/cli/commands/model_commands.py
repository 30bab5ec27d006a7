"""The commands that train and evaluate a model."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    STORES,
    Data,
    Limit,
    Log,
    MaxQuarantined,
    Predictions,
    Replace,
    Report,
    config_option,
    job_overrides,
    set_option,
    with_options,
)
from pipelines.cli.stop_signals import GOES_ON, saying
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.console import open_console
from pipelines.words import counted

NOTHING_KEPT = "stopped; nothing is kept of it without --predictions FOLDER"

Base = Annotated[
    str | None, typer.Option("--base", metavar="MODEL", help="Model to start from: folder, hub id or URL.")
]
Teacher = Annotated[
    str | None,
    typer.Option("--teacher", metavar="MODEL", help="Learn its distributions too; it may have another tokenizer."),
]
Halve = Annotated[
    bool, typer.Option("--halve", help="Start from every other layer of the base (12 -> 6); best with --teacher.")
]
HeldOut = Annotated[
    list[str] | None,
    typer.Option("--held-out", metavar="DATA", help="Judge on these rows while learning; can be given again."),
]
ModelOutput = Annotated[
    str, typer.Argument(metavar="OUTPUT", help=f"Folder for the model: {STORES}", show_default=False)
]
Renew = Annotated[bool, typer.Option("--overwrite", help="Replace the model or run that is in OUTPUT.")]


def finetune(
    data: Data,
    output: ModelOutput,
    base: Base = None,
    teacher: Teacher = None,
    halve: Halve = False,
    held_out: HeldOut = None,
    config: Annotated[Path | None, config_option("finetune")] = None,
    overrides: Annotated[list[str] | None, set_option("training.epochs=2")] = None,
    overwrite: Renew = False,
) -> None:
    """Make a model that answers, from a base and examples.

    The base is an encoder, or a model with a QA head that is to learn a new domain: a few hundred rows of it are worth
    a try. Held-out rows are judged while it learns; without --held-out, a fiftieth of the passages is held out.

    Checkpoints go to OUTPUT/_checkpoints. The same command goes on from the last one after a kill, and gives the same
    weights. OUTPUT gets config.json, model.safetensors, the base's tokenizer and a model card, for Spanmill and for
    transformers 4.57 and 5.
    """
    from pipelines.config.training import FinetuneConfig
    from pipelines.training.finetune import finetune as run

    options = {
        "base.name": base,
        "teacher.name": teacher,
        "halve": halve or None,
        "data.held_out": held_out,
    }
    chosen = load_config(FinetuneConfig, config, with_options(overrides, options))
    with saying(GOES_ON):
        trained = run(chosen, data, output, overwrite, open_console(stderr=True))
    console = open_console()
    if trained.was_complete:
        console.print(f"{trained.store.url} is complete; --overwrite makes it anew")
        return
    for judged in trained.history[:1] + trained.history[1:][-1:]:
        name = "the base" if judged.step == 0 else f"step {judged.step:,}"
        console.print(f"{name}: EM {judged.em:.1f}, F1 {judged.f1:.1f} on {counted(judged.rows, 'held-out row')}")
    console.print(f"model: {trained.store.url}")


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Local folder, hub id or URL.", show_default=False)],
    data: Data,
    config: Annotated[Path | None, config_option("answer")] = None,
    overrides: Annotated[list[str] | None, set_option("qa.max_answer_len=30")] = None,
    limit: Limit = None,
    report: Report = None,
    predictions: Predictions = None,
    overwrite: Replace = False,
    max_quarantined: MaxQuarantined = None,
    log: Log = None,
) -> None:
    """Say how good a model's answers are: EM and F1 by SQuAD's official rules.

    An answer job runs over DATA, so what is judged is what `spanmill answer` gives, and its config is that job's; only
    qa.top_k, qa.handle_impossible_answer, qa.null_score and the columns are set here. Scores come in total, and by
    source, length of answer and passage, and question word.

    "answerable" is over the rows with an answer, the model having to answer (SQuAD v1.1). Where DATA has rows without
    one, "abstaining" is over all rows (SQuAD v2.0): the model may say nothing, by its own decision or with the best
    threshold on null_score / (null_score + score).

    Rows whose answer is not at its offset, or that lack something, are left out and reported.
    """
    from pipelines.evaluation.command import evaluate as run
    from pipelines.reporting.json_log import logging_to

    chosen = load_config(AnswerConfig, config, job_overrides(overrides, model, max_quarantined))
    with saying(GOES_ON if predictions else NOTHING_KEPT), logging_to(log):
        raise typer.Exit(run(chosen, data, limit, report, predictions, overwrite))
