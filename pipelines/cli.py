"""The `spanmill` command."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from actors.errors import ModelError
from pipelines.config import AnswerConfig, EmbedConfig, StatusConfig
from pipelines.consoles import open_console
from pipelines.errors import ConfigError, ManifestError, SpanmillError
from pipelines.settings import as_yaml, load_config

app = typer.Typer(
    name="spanmill",
    help="Answer and embed whole corpora with a DistilBERT-class encoder, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_STORES = "local, s3://, gs://, abfs://"
_EXIT_CODES = (
    "Exit codes: 0 done; 1 not done or not complete, and why; 2 wrong use or config; 3 done, but rows that broke the "
    "model or its worker are quarantined; 130 stopped by Ctrl-C."
)

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help=f"Parquet or JSONL (plain, .gz, .zst): files, folders, globs; {_STORES}, hf://, https://",
        show_default=False,
    ),
]
Output = Annotated[str, typer.Argument(metavar="OUTPUT", help=f"Folder for the results: {_STORES}", show_default=False)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yaml", help="Config; `spanmill config answer` prints one.")
]
ModelName = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Local folder, hub id or URL: sets model.name.")
]
Words = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any config key, e.g. qa.top_k=3; can be given again."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N rows.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show plan, schema and a few rows as they go in; write nothing.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Remove what an earlier job wrote to OUTPUT, and start anew.")
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate", help="Try a sample of INPUT on the pool, and forecast time, cost and output; write nothing."
    ),
]
Extend = Annotated[
    bool, typer.Option("--extend", help="Take files into the job in OUTPUT that are new since it was begun.")
]
MaxQuarantined = Annotated[
    str | None,
    typer.Option(
        "--max-quarantined", metavar="N|P%", help="Fail when more rows than this are quarantined: 100, or 0.5%."
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="SQuAD v1.1 / v2 JSON, or JSONL / Parquet with question, context, answers {text, answer_start}: files, "
        f"folders, globs; {_STORES}, hf://, https://",
        show_default=False,
    ),
]
Report = Annotated[str | None, typer.Option("--report", metavar="FILE.json", help="Write all figures as JSON.")]
Predictions = Annotated[
    str | None,
    typer.Option(
        "--predictions",
        metavar="FOLDER",
        help="Keep the job there: its answers, and what a run that was cut off has done. A cluster of several machines "
        "needs one that all of them see.",
    ),
]
JobWords = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of it, e.g. qa.max_answer_len=30; can be given again."),
]
Replace = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier job wrote to the folder of --predictions.")
]
Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE.jsonl", help="Append what happens, shard by shard, as lines of JSON."),
]


@app.command(epilog=_EXIT_CODES)
def answer(
    inputs: Inputs,
    output: Output,
    config: ConfigFile = None,
    model: ModelName = None,
    words: Words = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    estimate: Estimate = False,
    overwrite: Overwrite = False,
    extend: Extend = False,
    max_quarantined: MaxQuarantined = None,
    log: Log = None,
) -> None:
    """Find the answer of every question in its passage.

    INPUT has the columns id (optional), question and context. Map others with --set corpus.columns.question=NAME,
    carry columns through with --set corpus.carry=[NAME,...]. The same command goes on where an earlier run stopped.
    """
    from pipelines.commands import run_job
    from pipelines.logs import logging_to

    chosen = load_config(AnswerConfig, config, _words(words, model, max_quarantined))
    with logging_to(log):
        raise typer.Exit(run_job(chosen, inputs, output, limit, dry_run, overwrite, extend, estimate))


@app.command(epilog=_EXIT_CODES)
def embed(
    inputs: Inputs,
    output: Output,
    config: ConfigFile = None,
    model: ModelName = None,
    words: Words = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    estimate: Estimate = False,
    overwrite: Overwrite = False,
    extend: Extend = False,
    max_quarantined: MaxQuarantined = None,
    log: Log = None,
) -> None:
    """Write one vector per text.

    INPUT has the columns id (optional) and text; map another with --set corpus.columns.text=NAME. Long texts are cut
    into windows and pooled over all their tokens. The same command goes on where an earlier run stopped.
    """
    from pipelines.commands import run_job
    from pipelines.logs import logging_to

    chosen = load_config(EmbedConfig, config, _words(words, model, max_quarantined))
    with logging_to(log):
        raise typer.Exit(run_job(chosen, inputs, output, limit, dry_run, overwrite, extend, estimate))


@app.command(epilog=_EXIT_CODES)
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Local folder, hub id or URL.", show_default=False)],
    data: Data,
    config: ConfigFile = None,
    words: JobWords = None,
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
    from pipelines.evaluate import evaluate as run
    from pipelines.logs import logging_to

    chosen = load_config(AnswerConfig, config, _words(words, model, max_quarantined))
    with logging_to(log):
        raise typer.Exit(run(chosen, data, limit, report, predictions, overwrite))


@app.command(epilog="Exit codes: 0 complete; 1 not complete; 2 no job there.")
def status(output: Output, config: ConfigFile = None, words: Words = None) -> None:
    """Say how far the job in OUTPUT is, from what is committed there."""
    from pipelines.status import show_status

    storage = load_config(StatusConfig, config, words or []).output.storage
    try:
        complete = show_status(output, storage)
    except ManifestError as error:
        _say(f"error: {error}")
        raise typer.Exit(2) from error
    raise typer.Exit(0 if complete else 1)


@app.command("config")
def print_config(kind: Annotated[Literal["answer", "embed"], typer.Argument(help="Which command's config.")]) -> None:
    """Print a config with every key, its meaning and its default, ready to edit."""
    typer.echo(as_yaml(AnswerConfig if kind == "answer" else EmbedConfig), nl=False)


def _words(words: list[str] | None, model: str | None, max_quarantined: str | None) -> list[str]:
    named = {"model.name": model, "max_quarantined": max_quarantined}
    return [*(words or []), *(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None)]


def main() -> None:
    """Runs the command; expected failures are a line on stderr, not a traceback."""
    try:
        app()
    except SystemExit as stop:
        # Typer turns Ctrl-C into this code without a word.
        if stop.code == 130:
            _say("stopped; what is committed stays, and the same command goes on from there")
        raise
    except ConfigError as error:
        _say(f"error: {error}")
        sys.exit(2)
    except (SpanmillError, ModelError) as error:
        _say(f"error: {error}")
        sys.exit(1)


def _say(text: str) -> None:
    open_console(stderr=True).print(text, soft_wrap=True)
