"""`spanmill bench`: measures, prints tables, and writes figures and plots."""

import dataclasses
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from actors.errors import first_line
from actors.models.hub import find_model
from pipelines.bench import curves, machine
from pipelines.bench.environments import ENVIRONMENTS, interpreters_of, missing, own, prepare
from pipelines.bench.figures import Curves, Report, Round
from pipelines.bench.loading import load, load_others
from pipelines.bench.peers import REFERENCE, Peer, all_peers, choose
from pipelines.bench.plots import can_plot, draw
from pipelines.bench.rounds import Contender, Contest
from pipelines.bench.rows import Slices, slices_of
from pipelines.bench.tables import show
from pipelines.bench.worker import WORKERS, Interpreter, PeerFailed, run_to_end, working
from pipelines.config.job import AnswerConfig, EmbedConfig, OfflineConfig
from pipelines.console import open_console
from pipelines.errors import ConfigError, SpanmillError
from pipelines.job.job import kind_of
from pipelines.schemas import JobKind
from pipelines.words import counted

FIGURES = "bench.json"
_RANDOM_MODEL = "pipelines.bench.workers.random_model"
_QA_LIMIT, _TEXT_LIMIT = 384, 512
_HERE = "in this environment"


@dataclass(frozen=True)
class Request:
    """What is to be measured."""

    inputs: tuple[str, ...]
    config: OfflineConfig
    """Of the job whose model, windows and columns count."""
    shape: Literal["base"] | None = None
    """A shape with random weights, in the place of the model."""
    peers: tuple[str, ...] = ()
    """As in `peers.choose`."""
    pythons: tuple[str, ...] = ()
    """NAME=PATH each."""
    rows: int = 300
    rounds: int = 3
    output: Path | None = None
    with_plots: bool = True
    prepares: bool = False
    """Whether environments are made first."""

    @property
    def task(self) -> JobKind:
        """Answer or embed."""
        return kind_of(self.config)

    @property
    def threads(self) -> int:
        """Of each peer."""
        return self.config.model.threads or len(os.sched_getaffinity(0))


def bench(request: Request) -> int:
    """Measures, prints, and writes.

    Returns:
        The exit code: 0, or 1 where a peer failed.

    Raises:
        ConfigError: there is no such peer, or one that is named is not installed.
        SpanmillError, ModelError: the model or the corpus cannot be used, or the engine itself failed.
        KeyboardInterrupt: it was stopped; what whole rounds had measured is printed and written before.
    """
    notes = open_console(stderr=True)
    if request.with_plots and request.output is not None and not can_plot():
        raise ConfigError("plots need matplotlib: pip install 'spanmill[bench]', or give --no-plots")
    embedding = request.config.embedding
    if embedding is not None and embedding.pooling not in ("mean", "cls"):
        raise ConfigError("embedding.pooling: the peers are compared by the vectors of mean or cls; set one of these")
    if request.output is not None:
        _make(request.output)
    contenders = _contenders(request, notes)
    model = find_model(request.config.model)
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="spanmill-bench-") as name:
        report = _measured(request, model, contenders, Path(name), stack, notes)
    console = open_console()
    if report.is_stopped:
        notes.print(f"stopped; what follows is of {counted(len(report.rounds), 'whole round')}", soft_wrap=True)
    show(report, console)
    if request.output is not None:
        _write(report, request, console)
    if report.is_stopped:
        raise KeyboardInterrupt
    return 1 if any(one.state == "failed" for one in contenders) else 0


def _contenders(request: Request, notes: Console) -> list[Contender]:
    peers, named = choose(all_peers(), request.peers, request.task)
    if request.prepares:
        for environment in {peer.environment for peer in peers if peer.environment is not None}:
            prepare(environment, notes)
    given = interpreters_of(request.pythons, _python_names())
    found = []
    for peer in peers:
        contender = Contender(peer, None)
        interpreter, lacks = _find(peer, given)
        if interpreter is None and peer.name in named:
            raise ConfigError(f"--peers: {peer.name} is not installed: {lacks}")
        if interpreter is None:
            contender.skip(f"not installed: {lacks}")
        contender.interpreter = interpreter
        found.append(contender)
    _check_groups(request.peers, found)
    return found


def _check_groups(words: Sequence[str], found: Sequence[Contender]) -> None:
    """Raises ConfigError where of a group that is named nothing can be measured."""
    for word in words:
        group = [one for one in found if one.peer.name == word or one.peer.name.startswith(f"{word}-")]
        if all(one.state == "skipped" for one in group):
            raise ConfigError(f"--peers: {word}: {group[0].peer.name} is {group[0].reason}")


def _python_names() -> list[str]:
    """Whose interpreter can be named: environments, and peers that may run in one."""
    return [one.name for one in ENVIRONMENTS] + [peer.name for peer in all_peers() if peer.environment is not None]


def _find(peer: Peer, given: Mapping[str, Path]) -> tuple[Interpreter | None, str]:
    """The interpreter of an environment that has what a peer needs; or None, and how to get one."""
    places = []
    if peer.environment is not None:
        by_hand = given.get(peer.name) or given.get(peer.environment.name)
        if by_hand is not None:
            places.append(Interpreter(by_hand, is_own=False))
        elif peer.environment.python.is_file():
            places.append(Interpreter(peer.environment.python, is_own=False))
    if not places or peer.name not in given:
        places.append(own())
    lacks = [missing(place, peer.needs) for place in places]
    for place, lacking in zip(places, lacks, strict=True):
        if not lacking:
            return place, ""
    # Of its own environment, where there is one.
    return None, f"{', '.join(lacks[0])}; {_how(peer)}"


def _how(peer: Peer) -> str:
    if peer.environment is None:
        return peer.how
    return f"--prepare makes an environment with it, --python {peer.environment.name}=PATH names one"


def list_peers(pythons: Sequence[str], console: Console) -> None:
    """Prints every peer: what it is, whether it is installed, and how to get it.

    Raises:
        ConfigError: an interpreter that is named cannot be used.
    """
    given = interpreters_of(pythons, _python_names())
    table = Table("peer", "tasks", "what it is", "installed, or how to get it", box=None, title_justify="left")
    table.columns[0].no_wrap = True
    for peer in all_peers():
        interpreter, lacks = _find(peer, given)
        found = f"missing {lacks}" if interpreter is None else _place(interpreter)
        table.add_row(peer.name, " ".join(peer.tasks), peer.what, found)
    console.print(table)


def _place(interpreter: Interpreter) -> str:
    return _HERE if interpreter.is_own else f"by {interpreter.python}"


def _measured(
    request: Request, model: Path, contenders: list[Contender], folder: Path, stack: ExitStack, notes: Console
) -> Report:
    def say(text: str) -> None:
        notes.print(text, style="dim", soft_wrap=True)

    model, named = _model(request, model, folder)
    setup = _setup(request, model)
    say("loading torch, for the floor")
    floor = stack.enter_context(working(own(), WORKERS / "floor.py", setup))
    found = floor.ask("device")
    setup["device"] = found["device"]
    _leave_out(contenders, "cpu" if found["gpu"] is None else "gpu")
    contest = Contest(request.task, folder, floor, "sgemm" if found["gpu"] is None else "float32", contenders, say)
    say(f"loading {REFERENCE}")
    reference = contest.reference
    load(reference, setup | dict(reference.peer.setup), stack)
    if reference.worker is None:
        raise SpanmillError(f"{REFERENCE}, which all others are compared with, failed: {reference.reason}")
    slices = slices_of(
        request.inputs, request.config, request.task, model, request.rows, request.rounds, folder, reference.worker
    )
    load_others(contest, setup, folder, stack)
    rounds, drawn, is_stopped = _until_stopped(request, contest, setup, slices, folder)
    lines = tuple(line for contender in contenders for line in contender.lines(len(rounds)))
    looked = machine.look(found["gpu"])
    return Report(request.task, named, request.threads, slices.corpus, looked, rounds, lines, drawn, is_stopped)


def _until_stopped(
    request: Request, contest: Contest, setup: dict[str, Any], slices: Slices, folder: Path
) -> tuple[tuple[Round, ...], Curves, bool]:
    """The rounds, after everyone was warmed up; the curves; and whether Ctrl-C ended them before their end.

    Raises:
        KeyboardInterrupt: no round was whole by then.
        SpanmillError: the engine or the floor failed, so that there is nothing to compare with.
    """
    rounds: list[Round] = []
    try:
        contest.warm_up(slices.warm)
        for number, rows in enumerate(slices.rounds):
            contest.say(f"round {number + 1} of {len(slices.rounds)}: {counted(rows.rows, 'row')}")
            rounds.append(contest.measure(rows, number))
        return tuple(rounds), _curves(request, contest, setup, slices, folder), False
    except PeerFailed as error:
        raise SpanmillError(f"{REFERENCE} or the floor, which all are compared with, failed: {error}") from error
    except KeyboardInterrupt:
        if not rounds:
            raise
        return tuple(rounds), Curves(), True


def _leave_out(contenders: Sequence[Contender], device: Literal["cpu", "gpu"]) -> None:
    for one in contenders:
        if one.state == "measured" and device not in one.peer.devices:
            one.skip("it is measured on CPUs only")


def _model(request: Request, model: Path, folder: Path) -> tuple[Path, str]:
    """The folder to measure, and its name for people."""
    if request.shape is None:
        return model, request.config.model.name
    run_to_end(own(), _RANDOM_MODEL, str(model), str(folder / "model"))
    return folder / "model", f"random weights of DistilBERT-{request.shape}'s shape"


def _setup(request: Request, model: Path) -> dict[str, Any]:
    """What all peers are told. Limits that a config leaves open are those that jobs take then."""
    config = request.config
    qa = (config.qa if isinstance(config, AnswerConfig) else AnswerConfig().qa).model_dump(
        include={"max_seq_len", "doc_stride", "max_answer_len", "top_k", "handle_impossible_answer", "align_to_words"}
    )
    qa["max_seq_len"] = qa["max_seq_len"] or _QA_LIMIT
    qa["doc_stride"] = min(qa["max_seq_len"] // 2, 128) if qa["doc_stride"] is None else qa["doc_stride"]
    embedding = (config.embedding or EmbedConfig().embedding).model_dump()
    embedding["max_seq_len"] = embedding["max_seq_len"] or _TEXT_LIMIT
    return {
        "model": str(model),
        "task": request.task,
        "threads": request.threads,
        "device": config.model.device,
        "qa": qa,
        "embedding": {name: embedding[name] for name in ("max_seq_len", "pooling")},
        "batching": config.batching.model_dump(),
        "job": {f"model.{key}": getattr(config.model, key) for key in ("backend", "precision")},
    }


def _curves(request: Request, contest: Contest, setup: dict[str, Any], slices: Slices, folder: Path) -> Curves:
    if not request.with_plots or request.output is None:
        return Curves()
    reference = contest.reference
    assert reference.worker is not None
    assert reference.interpreter is not None
    full = setup | dict(reference.peer.setup)
    cores = len(os.sched_getaffinity(0))
    try:
        return curves.measure(
            reference.worker, reference.interpreter, full, slices.rounds[0], folder, cores, contest.say
        )
    except PeerFailed as error:
        # Several engines at a time may be more than the memory holds; what the rounds have measured stays.
        contest.say(f"only the plot of the peers is drawn: an engine failed while the others were measured: {error}")
        return Curves()


def _make(output: Path) -> None:
    """Makes the folder for the figures before anything is measured, for which it would be too late to fail."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpanmillError(f"--output {output}: cannot be made: {first_line(error)}; name another folder") from error


def _write(report: Report, request: Request, console: Console) -> None:
    assert request.output is not None
    try:
        path = request.output / FIGURES
        path.write_text(json.dumps(dataclasses.asdict(report) | _derived(report), indent=1), encoding="utf-8")
        plots = draw(report, request.output) if request.with_plots else []
    except OSError as error:
        raise SpanmillError(f"--output {request.output}: cannot be written: {error}") from error
    console.print(f"figures: {path}", soft_wrap=True)
    for plot in plots:
        console.print(f"plot: {plot}", soft_wrap=True)


def _derived(report: Report) -> dict[str, object]:
    """Medians and ratios, which follow from the rest, for those who read the file."""
    lines = report.measured
    return {
        "rows_per_second": {line.name: statistics.median(report.rates(line)) for line in lines},
        "tokens_per_second": {line.name: report.tokens_per_second(line) for line in lines},
        "of_floor": {line.name: report.of_floor(line) for line in lines},
        "ratios": {one.name: {other.name: report.ratio(one, other) for other in lines} for one in lines},
    }
