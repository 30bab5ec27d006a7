"""`python -m tests.chaos`: every kind of fault so many times at random moments, and what became of the rows.

python -m tests.chaos --times 20 --kinds driver,actor --seed 7
"""

import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.chaos.bench import Bench, open_bench
from tests.chaos.jobs import WrongEnd
from tests.chaos.kinds import KINDS, Kind
from tests.chaos.verdict import Verdict, judge

_MODEL = Path(__file__).parents[2] / "models" / "untrained"
_MOST_IDLE = 3
"""Jobs in a row that came to their end before anything could be done to them."""
_COLUMNS = ("kind", "times", "jobs", "runs", "lost", "twice", "wrong", "recomputed", "receipts", "again", "minutes")


def main(
    times: Annotated[int, typer.Option(min=1, help="Faults of each kind, at least.")] = 20,
    kinds: Annotated[str, typer.Option(help="Which, with commas between.")] = ",".join(KINDS),
    seed: Annotated[int | None, typer.Option(help="Of the random moments; printed, so that it can be given.")] = None,
) -> None:
    """Runs the kinds one after the other; exit code 1 when a row or a shard came to harm."""
    # So that what runs below is ended too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    chosen = [KINDS[name] for name in kinds.split(",")]
    seed = random.randrange(10_000) if seed is None else seed
    console = Console(width=max(Console().width, 110))
    console.print(f"seed {seed}")
    table, good = Table(*_COLUMNS), True
    # Ray's sockets lie below, and a socket's path may have 107 characters.
    place = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
    with place as folder, open_bench(Path(folder), _MODEL, seed) as bench:
        for kind in chosen:
            good &= _run(bench, kind, times, console, table)
    console.print(table)
    console.print(_LEGEND)
    raise typer.Exit(0 if good else 1)


_LEGEND = (
    "lost, twice, wrong: rows; recomputed: shards begun after they had been committed, by the receipts of work done; "
    "again: parts replaced by equal ones that had been begun before"
)


def _run(bench: Bench, kind: Kind, times: int, console: Console, table: Table) -> bool:
    began, struck, jobs, runs, idle, total = time.monotonic(), 0, 0, 0, 0, Verdict()
    while struck < times and idle < _MOST_IDLE:
        with kind.job(bench) as job:
            try:
                done = kind.run(bench, job, times - struck)
            except WrongEnd as error:
                total.problems.append(str(error))
                console.print(f"{kind.name}: {error}", style="red", markup=False)
                bench.renew_clusters()
                break
        found = judge(job.output, job.watch, job.expected, kind.may_write_again)
        total.add(found)
        struck, jobs, runs, idle = struck + done, jobs + 1, runs + len(job.commands), 0 if done else idle + 1
        console.print(f"{kind.name}: {struck}/{times} after {len(job.commands)} runs of job {jobs}: {found.summary()}")
    if struck < times:
        total.problems.append(f"only {struck} of {times}")
    minutes = f"{(time.monotonic() - began) / 60:.1f}"
    proven = f"{total.receipts}/{total.shards}"
    figures = (struck, jobs, runs, total.lost, total.twice, total.wrong, total.recomputed, proven, total.written_again)
    table.add_row(kind.name, *map(str, figures), minutes, style=None if total.is_good else "red")
    return total.is_good


if __name__ == "__main__":
    typer.run(main)
