"""A job that is stopped in the middle goes on where it stopped: `spanmill` as a process of its own."""

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from actors.parameters import QAParameters
from tests.pipelines.jobs import bare_engine, mixed_rows, part_rows, parts, same_answer, write_jsonl
from tests.pipelines.processes import Command, is_gone

pytestmark = pytest.mark.ray

Start = Callable[..., Command]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command in the test's folder; what is left of it is ended after the test."""
    commands = []

    def run(*words: object) -> Command:
        commands.append(Command(tuple(map(str, words)), tmp_path))
        return commands[-1]

    yield run
    for command in commands:
        command.clean_up()


def _ctrl_c(command: Command) -> None:
    command.signal(signal.SIGINT)
    code, _, err = command.end()
    assert code == 130
    assert err.splitlines()[-1] == "stopped; what is committed stays, and the same command goes on from there"
    assert "Traceback" not in err
    assert is_gone(command)


def _kill(command: Command) -> None:
    command.process.kill()
    command.clean_up()


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param((_ctrl_c,), id="after Ctrl-C"),
        pytest.param((_ctrl_c, _kill), id="after Ctrl-C and a kill", marks=pytest.mark.more),
    ],
)
def test_the_same_command_goes_on(
    start: Start, tmp_path: Path, untrained_model: Path, stops: Sequence[Callable[[Command], None]]
) -> None:
    rows, output = mixed_rows(48), tmp_path / "out"
    corpus = write_jsonl(tmp_path / "in.jsonl", rows)
    words = ("spanmill", "answer", corpus, output, "--model", untrained_model)
    keys = ("corpus.shard_rows=1", "model.threads=1", "ray.object_store_mb=128")
    settings = [word for key in keys for word in ("--set", key)]

    before: dict[str, tuple[int, bytes]] = {}
    for stop in stops:
        command = start(*words, *settings)
        command.wait_until(partial(_has_more_parts, output, len(before)))
        stop(command)
        assert not (output / "_SUCCESS").exists()
        after = _snapshot(output)
        assert before.items() <= after.items(), "what was committed is computed again"
        before = after

    code, out, err = start(*words, *settings).end()
    assert code == 0, err
    assert "in the whole job" in out
    assert before.items() <= _snapshot(output).items()
    code, out, _ = start("spanmill", "status", output).end()
    # A run that is killed takes its last receipts with it: their rows are counted in the parts.
    assert (code, re.search(rf"^ *rows +{len(rows)} *$", out, re.MULTILINE) is not None) == (0, True), out

    found = part_rows(output)
    expected = bare_engine(untrained_model, rows, QAParameters())
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))


def _has_more_parts(output: Path, count: int) -> bool:
    return len(parts(output)) > count


def _snapshot(output: Path) -> dict[str, tuple[int, bytes]]:
    return {part.name: (part.stat().st_mtime_ns, part.read_bytes()) for part in parts(output)}
