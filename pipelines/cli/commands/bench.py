"""The command that measures Spanmill beside what others would use."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.options import STORES, ModelName, job_overrides, set_option
from pipelines.cli.stop_signals import STOPPED, heard_at_any_moment
from pipelines.config.job import AnswerConfig, EmbedConfig, OfflineConfig
from pipelines.config.loader import load_config
from pipelines.console import open_console
from pipelines.schemas import JobKind

BenchInputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT...]",
        help=f"Rows to measure on, as those of `spanmill answer` or `spanmill embed`: files, folders, globs; {STORES}. "
        "Without any, rows are generated, with lengths like SQuAD's.",
        show_default=False,
    ),
]
TaskOption = Annotated[JobKind, typer.Option("--task", help="Which job is measured.")]
ShapeOption = Annotated[
    Literal["base"] | None,
    typer.Option(
        "--model-shape",
        help="Random weights of DistilBERT-base's shape, in the place of the model; its tokenizer stays.",
    ),
]
Peers = Annotated[
    str | None,
    typer.Option(
        "--peers",
        metavar="NAME,...",
        help="Only these; `loop` is all whose name begins with `loop-`. Without it, all that are installed.",
    ),
]
Rows = Annotated[int, typer.Option("--rows", min=8, metavar="N", help="Rows of a round.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, metavar="N", help="Rounds, each with rows of its own.")]
OutputFolder = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FOLDER", help="Write all figures there, bench.json, and the plots.", file_okay=False
    ),
]
Plots = Annotated[
    bool, typer.Option("--plots/--no-plots", help="Whether to measure what the plots show, and to draw them.")
]
ListPeers = Annotated[
    bool, typer.Option("--list", help="Say who can be compared, what is installed, and how to get the rest.")
]
Prepare = Annotated[
    bool,
    typer.Option(
        "--prepare",
        help="First make the environments that peers need whose packages do not go with Spanmill's, once, in "
        "$XDG_CACHE_HOME/spanmill/bench.",
    ),
]
Pythons = Annotated[
    list[str] | None,
    typer.Option("--python", metavar="NAME=PATH", help="The Python of an environment or peer; can be given again."),
]


def bench(
    inputs: BenchInputs = None,
    task: TaskOption = "answer",
    model: ModelName = None,
    model_shape: ShapeOption = None,
    peers: Peers = None,
    rows: Rows = 300,
    rounds: Rounds = 3,
    output: OutputFolder = None,
    plots: Plots = True,
    list_peers: ListPeers = False,
    prepare: Prepare = False,
    pythons: Pythons = None,
    overrides: Annotated[list[str] | None, set_option("qa.max_seq_len=256")] = None,
) -> None:
    """Measure how fast Spanmill is on this machine, side by side with what others would use.

    Every peer runs in a process of its own, with its model loaded, warmed up, and all cores. They take turns on the
    same rows, never two at a time, round after round; medians, ranges, and ratios within a round are printed. The
    floor is the time that the arithmetic of the passes would take at the speed of a large matrix product, measured
    between the turns.

    Nobody is fast by being wrong: the answers of all are compared with those of the engine in float32, and so are
    vectors. A peer that is not installed is left out, and the table says how to get it.

    Nothing else should run meanwhile. Ten minutes are usual, most of them for the slow ones. Ctrl-C ends it with the
    tables, and the files, of the rounds that are whole.
    """
    from pipelines.bench import command

    if list_peers:
        command.list_peers(pythons or [], open_console())
        return
    kind: type[OfflineConfig] = AnswerConfig if task == "answer" else EmbedConfig
    request = command.Request(
        tuple(inputs or ()),
        load_config(kind, None, job_overrides(overrides, model, None)),
        shape=model_shape,
        peers=tuple(word for word in (peers or "").split(",") if word),
        pythons=tuple(pythons or ()),
        rows=rows,
        rounds=rounds,
        output=output,
        with_plots=plots,
        prepares=prepare,
    )
    with heard_at_any_moment(STOPPED):
        raise typer.Exit(command.bench(request))
