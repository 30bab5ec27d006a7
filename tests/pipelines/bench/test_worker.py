import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pipelines.bench.environments import own
from pipelines.bench.worker import PeerFailed, Worker, run_to_end, working
from tests.pipelines.bench.toys import toy


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"question": ["a", "b"], "context": ["c", "d"], "text": ["e", "f"]}))
    return str(path)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with working(own(), toy(tmp_path), {"dies_at": 3}) as started:
        yield started


def test_it_answers_and_embeds_and_its_prints_do_not_come_between(worker: Worker, rows: str, tmp_path: Path) -> None:
    found = worker.ask("answer", rows=rows, setting={})
    assert found["spans"] == [[0, 1], [0, 1]]
    assert found["seconds"] > 0
    assert worker.ask("answer", rows=rows, setting={"seconds": 5.0})["seconds"] == 5.0
    assert worker.ask("embed", rows=rows, setting={}, vectors=str(tmp_path / "v.npy"))["seconds"] < 5.0
    assert np.load(tmp_path / "v.npy").tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert (worker.precision, list(worker.versions), worker.declined) == ("float32", ["pip"], None)


def test_an_error_is_a_line_and_the_process_goes_on(worker: Worker) -> None:
    with pytest.raises(PeerFailed, match=r"^ValueError: this is not done$"):
        worker.ask("refuse")
    assert worker.ask("usable", rows={"a": ["x", ""]}) == [0]


def test_one_that_dies_says_how_and_what_it_said_last(worker: Worker, rows: str) -> None:
    for _ in range(2):
        worker.ask("answer", rows=rows, setting={})
    with pytest.raises(PeerFailed, match=r"^ended with exit code 7: out of luck$"):
        worker.ask("answer", rows=rows, setting={})
    with pytest.raises(PeerFailed, match="exit code 7"):
        worker.ask("usable", rows={"a": ["x"]})


def test_one_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(PeerFailed, match=r"^RuntimeError: no weights$"),
        working(own(), toy(tmp_path), {"broken": True}),
    ):
        pass


def test_its_process_ends_with_the_block(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), working(own(), toy(tmp_path), {}) as worker:
        assert worker.process.poll() is None
        raise KeyboardInterrupt
    assert worker.process.returncode is not None


def test_a_program_that_fails_says_what_it_said_last() -> None:
    with pytest.raises(PeerFailed, match="No module named"):
        run_to_end(own(), "pipelines.bench.nothing")
