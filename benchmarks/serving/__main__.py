"""The service and the jobs beside it, side by side in one run: medians over rounds, each beside its goal.

python -m benchmarks.serving [--only idle,wait,share,overload,kill,update] [--seconds 60] [--rounds 3] [--kills 20]
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.serving import idle, kills, overload, share, update, wait
from benchmarks.serving.bench import Bench, Setup, started
from benchmarks.serving.figures import Figures, show
from pipelines.cli.commands.serve import service_of
from pipelines.config.loader import load_config
from pipelines.config.service import ServeConfig

_ON_ONE_SERVICE: dict[str, Callable[[Bench], Figures]] = {
    "idle": idle.measure,
    "wait": wait.measure,
    "overload": overload.measure,
    "kill": kills.measure,
    "update": update.measure,
}
_ALL = (*_ON_ONE_SERVICE, "share")


def main(
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(_ALL)}; with commas between them.")] = ",".join(_ALL),
    seconds: Annotated[float, typer.Option(help="Of every load.", min=3)] = 60.0,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    kill: Annotated[int, typer.Option("--kills", help="Replicas that are killed.", min=1)] = 20,
    threads: Annotated[int, typer.Option(help="Of the model; 0 takes all cores.", min=0)] = 0,
    words: Annotated[list[str] | None, typer.Option("--set", help="Further keys of the service.")] = None,
) -> None:
    """Prints a table per measurement."""
    console = Console(highlight=False)
    wanted = only.split(",")
    if unknown := set(wanted) - set(_ALL):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(_ALL)}")
    with tempfile.TemporaryDirectory() as name:
        setup = _setup(Path(name), console, rounds, seconds, kill, threads or os.cpu_count() or 1, words or [])
        on_one = [measure for name, measure in _ON_ONE_SERVICE.items() if name in wanted]
        if on_one:
            with started(setup) as bench:
                for measure in on_one:
                    show(measure(bench), console)
        if "share" in wanted:
            show(share.measure(setup), console)


def _setup(
    folder: Path, console: Console, rounds: int, seconds: float, kill: int, threads: int, words: list[str]
) -> Setup:
    all_words = [f"model.threads={threads}", "ray.object_store_mb=512", *words]
    config = load_config(ServeConfig, None, all_words)
    return Setup(folder, console, rounds, seconds, kill, tuple(all_words), service_of(config))


if __name__ == "__main__":
    typer.run(main)
