from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.bench.environments import own
from pipelines.bench.figures import Line, Round
from pipelines.bench.loading import load
from pipelines.bench.peers import REFERENCE, Peer, Setting
from pipelines.bench.rounds import Contender, Contest
from pipelines.bench.rows import Slice
from pipelines.bench.worker import Interpreter, PeerFailed, working
from tests.pipelines.bench.toys import toy


class _Toy(Peer):
    @property
    def file(self) -> Path:
        return Path(self.worker)


def _contender(folder: Path, name: str, *settings: Setting, is_tuned: bool = False, **setup: object) -> Contender:
    peer = _Toy(name, "a toy", str(toy(folder)), ("answer", "embed"), settings, is_tuned=is_tuned, setup=setup)
    return Contender(peer, own())


def _slice(folder: Path, name: str, rows: int) -> Slice:
    columns = {"question": ["q"] * rows, "context": ["c"] * rows}
    path = folder / f"{name}.json"
    path.write_text(f'{{"question": {["q"] * rows}, "context": {["c"] * rows}}}'.replace("'", '"'))
    return Slice(path, columns)


@pytest.fixture
def measured(tmp_path: Path) -> dict[str, Line | Round]:
    """Two rounds of toys whose times are given, so that the figures are known."""
    contenders = [
        _contender(tmp_path, REFERENCE, Setting("", {"seconds": 1.0})),
        _contender(tmp_path, "wrong", Setting("", {"seconds": 0.5, "end": 2})),
        _contender(tmp_path, "tuned", *(Setting(str(n), {"seconds": float(n)}) for n in (3, 2, 4)), is_tuned=True),
        # In the second round: it is asked once to warm up.
        _contender(tmp_path, "mortal", Setting("", {}), dies_at=3),
        _contender(tmp_path, "shy", Setting("", {}), declined="not today"),
        _contender(tmp_path, "broken", Setting("", {}), broken=True),
        _contender(tmp_path, "short", Setting("", {"rows": 1})),
    ]
    with ExitStack() as stack:
        for contender in contenders:
            load(contender, contender.peer.setup, stack)
        floor = stack.enter_context(working(own(), toy(tmp_path), {}))
        contest = Contest("answer", tmp_path, floor, "sgemm", contenders, lambda text: None)
        contest.warm_up(_slice(tmp_path, "warm", 2))
        rounds = [contest.measure(_slice(tmp_path, str(number), 4), number) for number in range(2)]
        lines = [line for contender in contenders for line in contender.lines(2)]
    return {"round": rounds[0]} | {line.name: line for line in lines}


def test_all_take_turns_and_what_fails_is_a_line(measured: dict[str, Line]) -> None:
    states = {name: (line.state, line.reason) for name, line in measured.items() if name != "round"}
    assert states == {
        REFERENCE: ("measured", ""),
        "wrong": ("measured", ""),
        "tuned": ("measured", ""),
        "mortal": ("failed", "ended with exit code 7: out of luck"),
        "shy": ("skipped", "not today"),
        "broken": ("failed", "RuntimeError: no weights"),
        "short": ("failed", "it gave 1 answer for 4 rows"),
    }


def test_nobody_is_fast_by_being_wrong(measured: dict[str, Line]) -> None:
    assert [(turn.seconds, turn.agreement) for turn in measured["wrong"].turns] == [(0.5, 0.0)] * 2
    assert [turn.agreement for turn in measured[REFERENCE].turns] == [1.0] * 2


def test_of_tuned_settings_the_fastest_is_measured(measured: dict[str, Line]) -> None:
    assert measured["tuned"].setting == "2"
    assert [turn.seconds for turn in measured["tuned"].turns] == [2.0] * 2


def test_the_floor_is_measured_between_the_turns(measured: dict[str, Round]) -> None:
    one = measured["round"]
    assert (one.rows, one.windows, one.tokens, one.flops) == (4, 4, 40, 4000.0)
    assert one.floor_rates == {"sgemm": (2000.0,) * 4, "other": (4000.0,) * 4}
    assert one.floor_seconds == 2.0


def test_vectors_are_compared_by_their_least_cosine(tmp_path: Path) -> None:
    rows = Slice(tmp_path / "texts.json", {"text": ["a", "b"]})
    rows.path.write_text('{"text": ["a", "b"]}')
    contenders = [
        _contender(tmp_path, REFERENCE, Setting("", {})),
        _contender(tmp_path, "other", Setting("", {})),
        _contender(tmp_path, "wide", Setting("", {"width": 3})),
    ]
    with ExitStack() as stack:
        for contender in contenders:
            load(contender, {}, stack)
        floor = stack.enter_context(working(own(), toy(tmp_path), {}))
        contest = Contest("embed", tmp_path, floor, "sgemm", contenders, lambda text: None)
        contest.warm_up(rows)
        contest.measure(rows, 0)
        _, (line,), (wide,) = (contender.lines(1) for contender in contenders)
        assert contenders[1].lines(0)[0].turns == ()
    assert [turn.agreement for turn in line.turns] == [1.0]
    assert (wide.state, wide.reason) == ("failed", "it gave vectors of shape (2, 3), and the engine (2, 2)")


def test_without_the_reference_there_is_no_round(tmp_path: Path) -> None:
    one = _contender(tmp_path, REFERENCE, Setting("", {}), dies_at=1)
    with ExitStack() as stack:
        load(one, one.peer.setup, stack)
        floor = stack.enter_context(working(own(), toy(tmp_path), {}))
        contest = Contest("answer", tmp_path, floor, "sgemm", [one], lambda text: None)
        with pytest.raises(PeerFailed, match="exit code 7: out of luck"):
            contest.warm_up(_slice(tmp_path, "warm", 2))


def test_a_peer_without_an_interpreter_takes_no_turn() -> None:
    contender = Contender(_Toy("a", "b", "c", ("answer",)), None)
    contender.skip("not installed")
    assert [(line.state, line.reason) for line in contender.lines(2)] == [("skipped", "not installed")]
    assert isinstance(own(), Interpreter)
