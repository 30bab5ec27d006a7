"""Arguments and options that several commands take."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

STORES = "local, s3://, gs://, abfs://"
WRONG = "2 wrong use or config, as an input or a model that is not there"
EXIT_CODES = (
    f"Exit codes: 0 done; 1 not done or not complete, and why; {WRONG}; 3 done, but rows that broke the model or its "
    "worker are quarantined; 130 stopped by Ctrl-C or SIGTERM."
)

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help=f"Parquet, JSONL or JSON (plain, .gz, .zst): files, folders, globs; {STORES}, hf://, https://",
        show_default=False,
    ),
]
Output = Annotated[str, typer.Argument(metavar="OUTPUT", help=f"Folder for the results: {STORES}", show_default=False)]
EXPORTED_MODEL = typer.Argument(metavar="MODEL", help="Local folder, hub id or URL of a folder.", show_default=False)
OverwriteExport = Annotated[
    bool, typer.Option("--overwrite", help="Replace all of OUTPUT, if it is an export or a bundle of Spanmill.")
]


def published_in(what: str) -> Any:
    """The argument OUTPUT of a command that publishes a folder, which may be a repository of the hub."""
    help = f"Folder for {what}: {STORES}; or hf://user/name, a repository of the hub (not tested)."
    return typer.Argument(metavar="OUTPUT", help=help, show_default=False)


class InputsThenOutput(TyperCommand):
    """A command that takes several inputs and behind them its output, and says which of both is missing.

    Where only one of them is given, the parser gives it to the argument that takes exactly one, and would miss the
    inputs.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the words of the command; raises UsageError where there are too few."""
        try:
            return super().parse_args(ctx, list(args))
        except typer.BadParameter as error:
            several, one = (param for param in self.params if param.param_type_name == "argument")
            given = self.make_parser(ctx).parse_args(list(args))[0].get(one.name or "")
            if error.param is several and isinstance(given, str):
                ctx.fail(
                    f"Missing argument 'OUTPUT': only {given} is given, and the results go to what is named last. "
                    f"Write `{ctx.command_path} {shlex.quote(given)} OUTPUT`."
                )
            raise


def config_option(command: str) -> Any:
    """The option --config of a command; its help names the config that is its own."""
    return typer.Option("--config", metavar="FILE.yaml", help=f"Config; `spanmill config {command}` prints one.")


def set_option(example: str, keys: str = "Any config key") -> Any:
    """The option --set of a command, with a key that it has, and which keys it takes."""
    help = f"{keys}, e.g. {example}; can be given again."
    return typer.Option("--set", metavar="KEY=VALUE", help=help)


def epilog(exit_codes: str, *examples: str) -> str:
    """What stands behind the options of a command: examples that run, and how it ends."""
    # \b keeps Click from filling the lines that follow into a paragraph.
    return "\n".join(("\b", "Examples:", *(f"  {example}" for example in examples), "", exit_codes))


ModelName = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Local folder, hub id or URL: sets model.name.")
]
ServedModels = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Local folder, hub id or URL: sets model.name. Given several times, all are served (sets models).",
    ),
]
Pool = Annotated[
    str | None,
    typer.Option(
        "--pool",
        metavar="own|serve",
        help="serve: run on the replicas of a running `spanmill serve`, after its online requests: sets pool.kind.",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant", metavar="NAME", help="With --pool serve: whose share of its replicas to take: sets pool.tenant."
    ),
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
        "--max-quarantined",
        metavar="N|P%",
        help="Fail when more rows than this are quarantined: 100, or 0.5%; by default 50%.",
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="SQuAD v1.1 / v2 JSON, or JSONL / Parquet with question, context, answers {text, answer_start}: files, "
        f"folders, globs; {STORES}, hf://, https://",
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
Replace = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier job wrote to the folder of --predictions.")
]
Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE.jsonl", help="Append what happens, shard by shard, as lines of JSON."),
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Listen there: sets http.host; 0.0.0.0 for all.")
]
Port = Annotated[int | None, typer.Option("--port", metavar="N", help="Listen on this port: sets http.port.")]


def job_overrides(
    overrides: list[str] | None,
    model: str | None,
    max_quarantined: str | None,
    pool: str | None = None,
    tenant: str | None = None,
) -> list[str]:
    """The KEY=VALUE overrides of a command that runs a job: those of --set, and its options that stand for a key."""
    options = {"model.name": model, "max_quarantined": max_quarantined, "pool.kind": pool, "pool.tenant": tenant}
    return with_options(overrides, options)


def served_models(names: Sequence[str]) -> dict[str, object]:
    """The options, by the keys that they stand for, of the models that a service is to have; none for no names.

    They take the place of those that a file lists: one is served alone.
    """
    if not names:
        return {}
    if len(names) == 1:
        return {"model.name": names[0], "models": []}
    return {"models": [{"model": {"name": name}} for name in names]}


def with_options(overrides: list[str] | None, options: Mapping[str, object]) -> list[str]:
    """The overrides of --set, followed by those of the options that were given.

    Args:
        options: dotted config key → the option's value; None where the option was not given.
    """
    given = (f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None)
    return [*(overrides or []), *given]
