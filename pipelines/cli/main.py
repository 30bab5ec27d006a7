"""The `spanmill` command: its subcommands, and how it ends when one of them fails."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel

from actors.daemon_thread import is_any_left
from actors.errors import DeviceLost, ModelError, NoModelError, NoRoom
from actors.parameters import ModelParameters
from actors.version import release
from pipelines.cli.commands import model_commands
from pipelines.cli.commands.bench import bench
from pipelines.cli.commands.bundle import bundle
from pipelines.cli.commands.export import export
from pipelines.cli.commands.node import drain, node
from pipelines.cli.commands.view import view
from pipelines.cli.native_stderr import without_ray_lines
from pipelines.cli.options import (
    EXIT_CODES,
    WRONG,
    DryRun,
    Estimate,
    Extend,
    Host,
    Inputs,
    InputsThenOutput,
    Limit,
    Log,
    MaxQuarantined,
    ModelName,
    Output,
    Overwrite,
    Pool,
    Port,
    ServedModels,
    Tenant,
    config_option,
    epilog,
    job_overrides,
    served_models,
    set_option,
    with_options,
)
from pipelines.cli.stop_signals import GOES_ON, NOTHING_WRITTEN, STOPPED, STOPPED_CODE, Stopped, heard_at_any_moment
from pipelines.config.job import AnswerConfig, EmbedConfig, StatusConfig
from pipelines.config.loader import as_yaml, changed_yaml, load_config
from pipelines.console import open_console
from pipelines.errors import ConfigError, ManifestError, NotThereError, SpanmillError
from pipelines.storage.url import redact

app = typer.Typer(
    name="spanmill",
    help="Answer and embed whole corpora with a DistilBERT-class encoder, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        open_console().print(f"spanmill {release()}")
        raise typer.Exit()


@app.callback()
def _of_all_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which release this is.")
    ] = False,
) -> None:
    pass


def _add_job_command(
    name: str, kind: type[AnswerConfig | EmbedConfig], key: str, help: str, examples: Sequence[str]
) -> None:
    """Adds a command that runs an offline job; all of them take the same arguments and options.

    Args:
        key: of its config, as an example.
    """

    @app.command(name, cls=InputsThenOutput, help=help, epilog=epilog(EXIT_CODES, *examples))
    def command(
        inputs: Inputs,
        output: Output,
        config: Annotated[Path | None, config_option(name)] = None,
        model: ModelName = None,
        pool: Pool = None,
        tenant: Tenant = None,
        overrides: Annotated[list[str] | None, set_option(key)] = None,
        limit: Limit = None,
        dry_run: DryRun = False,
        estimate: Estimate = False,
        overwrite: Overwrite = False,
        extend: Extend = False,
        max_quarantined: MaxQuarantined = None,
        log: Log = None,
    ) -> None:
        from pipelines.cli.commands.run_job import run_job
        from pipelines.reporting.json_log import logging_to

        chosen = load_config(kind, config, job_overrides(overrides, model, max_quarantined, pool, tenant))
        with heard_at_any_moment(NOTHING_WRITTEN if dry_run or estimate else GOES_ON), logging_to(log):
            raise typer.Exit(run_job(chosen, inputs, output, limit, dry_run, overwrite, extend, estimate))


_add_job_command(
    "answer",
    AnswerConfig,
    "qa.top_k=3",
    """Find the answer of every question in its passage.

    INPUT has the columns id (optional), question and context. Map others with --set corpus.columns.question=NAME,
    carry columns through with --set 'corpus.carry=[NAME,...]'. Tokens, their vectors and attention are written too
    with --set 'output.columns=[...]'. The same command goes on where an earlier run stopped.
    """,
    (
        "spanmill answer questions.parquet answers/ --dry-run",
        "spanmill answer questions.parquet answers/ --limit 100",
        "spanmill answer 'in/*.jsonl.gz' answers/ --set corpus.columns.context=passage --set 'corpus.carry=[title]'",
        "spanmill answer questions.parquet answers/ --set 'output.columns=[answers, tokens, attention]'",
        "spanmill answer questions.parquet answers/ --config job.yaml --log job.jsonl",
    ),
)
_add_job_command(
    "embed",
    EmbedConfig,
    "embedding.dtype=float16",
    """Write a vector for every text, or for every chunk of it (--set 'chunk={tokens: 256}').

    INPUT has the columns id (optional) and text; map another with --set corpus.columns.text=NAME. Long texts are cut
    into windows and pooled over all their tokens. Tokens, their vectors and more are written with
    --set 'output.columns=[...]'. The same command goes on where an earlier run stopped.
    """,
    (
        "spanmill embed passages.parquet vectors/ --estimate",
        "spanmill embed passages.parquet vectors/ --model sentence-transformers/all-MiniLM-L6-v2",
        "spanmill embed passages.parquet vectors/ --set corpus.columns.text=body --set embedding.dtype=float16",
        "spanmill embed passages.parquet chunks/ --set 'chunk={tokens: 256}' --set embedding.doc_stride=64",
        "spanmill embed passages.parquet encoded/ --set 'output.columns=[tokens, token_vectors]'",
    ),
)


@app.command(
    epilog=epilog(
        "Exit codes: 0 complete; 1 not complete; 2 no job there.",
        "spanmill status answers/ --rows 3",
        "spanmill status s3://bucket/answers --set output.storage.endpoint_url=http://localhost:9000",
    )
)
def status(
    output: Output,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.yaml", help="The job's config; only its output.storage is looked at."),
    ] = None,
    overrides: Annotated[list[str] | None, set_option("output.storage.anon=true", "A key of output.storage")] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, metavar="N", help="Show the first N rows, too.")] = 0,
) -> None:
    """Say how far the job in OUTPUT is, from what is committed there."""
    from pipelines.cli.commands.status import show_status

    storage = load_config(StatusConfig, config, overrides or []).output.storage
    try:
        complete = show_status(output, storage, rows)
    except ManifestError as error:
        _print_error(f"error: {error}")
        raise typer.Exit(2) from error
    raise typer.Exit(0 if complete else 1)


app.command(
    epilog=epilog(
        "Exit codes: 0 stopped; 1 could not be opened, and why; 2 wrong use or config, or no job there; 130 stopped "
        "before it was ready.",
        "spanmill view answers/ --open",
        "spanmill view answers/ answers-of-another-model/",
        "spanmill view s3://bucket/answers --set output.storage.endpoint_url=http://localhost:9000 --port 9000",
        "SPANMILL_KEYS=secret spanmill view answers/ --host 0.0.0.0",
    )
)(view)

app.command(
    epilog=epilog(
        f"Exit codes: 0 measured; 1 a peer failed, or nothing could be measured, and why; {WRONG}, or a peer that is "
        "named and not installed; 130 stopped by Ctrl-C or SIGTERM.",
        "spanmill bench --list",
        "spanmill bench --peers engine,job --rows 100 --rounds 1",
        "spanmill bench questions.parquet --prepare --output figures/",
        "spanmill bench passages.parquet --task embed --set corpus.columns.text=body --peers engine,loop",
    )
)(bench)

app.command(
    epilog=epilog(
        "Exit codes: 0 all forms agree with torch; 1 one does not, or could not be written, or (with --check) has a "
        f"damaged file, and why; {WRONG}, or an OUTPUT that holds files; 130 stopped by Ctrl-C or SIGTERM.",
        "spanmill export minilm-qa exported/",
        "spanmill export my-model/ exported/ --formats onnx,openvino --precision float32,int8 --rows dev.json",
        "spanmill export my-model/ exported/ --python tensorflow=/path/to/environment/bin/python",
        "spanmill export distilbert/distilbert-base-cased-distilled-squad s3://bucket/models/distilbert",
        "spanmill export --check exported/",
    )
)(export)

app.command(
    epilog=epilog(
        f"Exit codes: 0 written; 1 not written, and why; {WRONG}, or an OUTPUT that holds files; 130 stopped by Ctrl-C "
        "or SIGTERM.",
        "spanmill bundle minilm-qa endpoint/",
        "spanmill bundle my-model/ endpoint/ --set qa.handle_impossible_answer=true --set qa.max_answer_len=30",
        "spanmill bundle sentence-transformers/all-MiniLM-L6-v2 endpoint/ --task feature-extraction",
        "spanmill bundle s3://bucket/models/mine hf://you/mine --set model.storage.endpoint_url=http://minio:9000",
    )
)(bundle)


@app.command(
    epilog=epilog(
        "Exit codes: 0 nothing is wrong; 1 something is.",
        "spanmill doctor",
        "spanmill doctor --model distilbert/distilbert-base-cased-distilled-squad",
        "spanmill doctor --address 10.0.0.1:6379 --store s3://bucket/corpus",
    )
)
def doctor(
    model: ModelName = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="Ask every node of this cluster, too; without it, of the one that RAY_ADDRESS names.",
        ),
    ] = None,
    stores: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="URL", help="That every node of the cluster has to reach; can be given again."),
    ] = None,
) -> None:
    """Look at what this machine has and lacks: packages, devices, memory, model, stores, ports, and a cluster's nodes.

    Of each node of a cluster: versions of packages, its clock, room on its disks, and whether it reaches the model's
    folder and the stores.
    """
    from pipelines.cli.commands.doctor import show

    raise typer.Exit(0 if show(model or ModelParameters().name, address, stores or ()) else 1)


app.command(
    epilog=epilog(
        "Exit codes: 0 the node has left, or the time is over; 1 the cluster does not answer; 2 there is no such node.",
        "spanmill drain",
        "spanmill drain --address 10.0.0.1:6379 --seconds 25",
    )
)(drain)
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog=epilog(
        "Exit codes: 0 ended after SIGTERM or Ctrl-C; else that of `ray start`.",
        "spanmill node --address 10.0.0.1:6379",
        "spanmill node --address 10.0.0.1:6379 --seconds 25 --num-cpus=8 --num-gpus=1",
    ),
)(node)


@app.command(
    "config",
    epilog=epilog(
        "Exit codes: 0 printed; 2 wrong use or config.",
        "spanmill config answer > job.yaml",
        "spanmill config answer --changed --config job.yaml",
        "spanmill config embed --changed --set embedding.dtype=float16 > small.yaml",
    ),
)
def print_config(
    kind: Annotated[Literal["answer", "embed", "finetune", "serve"], typer.Argument(help="Which command's config.")],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.yaml", help="Print this one instead of the defaults.")
    ] = None,
    overrides: Annotated[list[str] | None, set_option("ray.address=auto")] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only the keys that are not at their defaults.")] = False,
) -> None:
    """Print a config with every key, its meaning and its value, ready to edit."""
    from pipelines.config.service import ServeConfig
    from pipelines.config.training import FinetuneConfig

    kinds: dict[str, type[BaseModel]] = {
        "answer": AnswerConfig,
        "embed": EmbedConfig,
        "finetune": FinetuneConfig,
        "serve": ServeConfig,
    }
    chosen = load_config(kinds[kind], config, overrides or [])
    typer.echo(changed_yaml(chosen) if changed else as_yaml(kinds[kind], config=chosen), nl=False)


app.command(
    epilog=epilog(
        EXIT_CODES,
        "spanmill evaluate minilm-qa dev.json --limit 500",
        "spanmill evaluate my-model/ dev.json --report scores.json --predictions kept/",
    )
)(model_commands.evaluate)
app.command(
    cls=InputsThenOutput,
    epilog=epilog(
        f"Exit codes: 0 done; 1 not done, and why; {WRONG}; 130 stopped by Ctrl-C or SIGTERM.",
        "spanmill finetune train.jsonl my-model/ --base minilm-qa --held-out dev.json",
        "spanmill finetune train.json small/ --base big-model/ --teacher big-model/ --halve",
        "spanmill finetune train.jsonl my-model/ --set training.epochs=2 --set training.learning_rate=1e-4",
    ),
)(model_commands.finetune)


@app.command(
    epilog=epilog(
        f"Exit codes: 0 stopped; 1 could not run, and why; {WRONG}; 130 stopped before it was ready.",
        "spanmill serve",
        "spanmill serve --model distilbert/distilbert-base-cased-distilled-squad --port 9000",
        "spanmill serve --model minilm-qa --model sentence-transformers/all-MiniLM-L6-v2 --set replicas.cpus=0.5",
        "SPANMILL_KEYS=secret spanmill serve --host 0.0.0.0",
    )
)
def serve(
    config: Annotated[Path | None, config_option("serve")] = None,
    model: ServedModels = None,
    host: Host = None,
    port: Port = None,
    overrides: Annotated[list[str] | None, set_option("http.port=9000")] = None,
) -> None:
    """Answer and embed over HTTP: Hugging Face, OpenAI, Text Embeddings Inference and Open Inference routes.

    It runs on Ray Serve, on a local cluster or on the one that ray.address or RAY_ADDRESS names, until Ctrl-C or
    SIGTERM. Offline jobs can share its replicas: `spanmill answer ... --pool serve`. `spanmill config serve` prints
    every key; /docs lists the routes. Of several models, the first answers where a request names none, and each answers
    below /models/NAME.

    Where neither an option nor the config says it, environment variables do: SPANMILL_MODEL, or the first of
    SPANMILL_MODEL_FOLDERS that holds anything; SPANMILL_HOST; SPANMILL_PORT, SAGEMAKER_BIND_TO_PORT or PORT;
    SPANMILL_HEALTH_ROUTE, a further path of the probe /ready. SPANMILL_KEYS holds the keys of who may ask; without it,
    SPANMILL_OPEN=1 lets anybody ask.
    """
    from pipelines.config.environment import service_settings
    from pipelines.config.service import ServeConfig

    options = served_models(model or []) | {"http.host": host, "http.port": port}
    chosen = load_config(ServeConfig, config, with_options(overrides, options), service_settings(os.environ))
    with heard_at_any_moment(STOPPED):
        # Ray comes with it, and takes seconds.
        from pipelines.cli.commands.serve import run_service
    run_service(chosen, open_console(stderr=True))


def main() -> None:
    """Runs the command; expected failures are a line on stderr, not a traceback."""
    # SIGTERM, which a cluster's scheduler sends, stops a command as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with without_ray_lines():
            app()
    except SystemExit as stop:
        # Typer turns Ctrl-C into this exit code and prints nothing.
        if stop.code == STOPPED_CODE:
            _print_error(stop.said if isinstance(stop, Stopped) else STOPPED)
        if stop.code == STOPPED_CODE and is_any_left():
            # Native code of that thread may crash while the interpreter ends.
            sys.stdout.flush()
            os._exit(STOPPED_CODE)
        raise
    except (ConfigError, NotThereError, NoModelError) as error:
        # The command cannot be right as it stands, however often it is tried.
        _print_error(f"error: {error}")
        sys.exit(2)
    except (SpanmillError, ModelError, NoRoom, DeviceLost) as error:
        _print_error(f"error: {error}")
        sys.exit(1)


def _print_error(text: str) -> None:
    # Errors of a model's store name its URL as it is.
    open_console(stderr=True).print(redact(text), soft_wrap=True)
