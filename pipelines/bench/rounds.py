"""Peers take turns: each in its own process with its model loaded, one at a time, on rows that all of them get."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.bench.figures import Line, LineState, Round, Turn
from pipelines.bench.peers import REFERENCE, Peer, Setting
from pipelines.bench.rows import Slice
from pipelines.bench.worker import Interpreter, PeerFailed, Worker
from pipelines.schemas import JobKind
from pipelines.words import counted

_FLOORS = 4
"""Times that the floor is measured in a round, at most: before the turns, and behind some of the others'."""

Say = Callable[[str], None]


@dataclass
class Contender:
    """A peer in a run, and what is known of it."""

    peer: Peer
    interpreter: Interpreter | None
    """None where it is not measured."""
    worker: Worker | None = None
    state: LineState = "measured"
    reason: str = ""
    settings: list[Setting] = field(default_factory=list)
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    """By the name of the setting."""

    def give_up(self, error: PeerFailed) -> None:
        """Takes no turn any more; what it has measured does not count."""
        self.state, self.reason, self.worker = "failed", str(error), None

    def skip(self, reason: str) -> None:
        """Takes no turn."""
        self.state, self.reason, self.worker = "skipped", reason, None

    def lines(self, rounds: int) -> list[Line]:
        """Its lines of the table: one a setting, or one that says why there is none.

        Args:
            rounds: whole ones; a turn of one that was stopped does not count.
        """
        peer = self.peer
        if self.worker is None:
            return [Line(peer.name, peer.name, peer.what, self.state, self.reason, peer.is_own)]
        return [
            Line(
                peer.name if peer.is_tuned or not setting.name else f"{peer.name}, {setting.name}",
                peer.name,
                peer.what,
                "measured",
                is_own=peer.is_own,
                precision=self.worker.precision,
                setting=setting.name if peer.is_tuned else "",
                versions=self.worker.versions,
                turns=tuple(self.turns[setting.name][:rounds]),
            )
            for setting in self.settings
        ]


@dataclass
class Contest:
    """All who are compared, with their models loaded."""

    task: JobKind
    folder: Path
    """For files of vectors."""
    floor: Worker
    floor_name: str
    contenders: list[Contender]
    say: Say

    @property
    def reference(self) -> Contender:
        """Whose answers all are compared with."""
        return next(one for one in self.contenders if one.peer.name == REFERENCE)

    def warm_up(self, rows: Slice) -> None:
        """Runs everyone once at every setting, and finds the best setting of those that are tuned.

        Raises:
            PeerFailed: the reference failed.
        """
        for contender in self.contenders:
            if contender.worker is None:
                continue
            self.say(f"warming up {contender.peer.name}")
            try:
                settings = list(contender.peer.settings)
                for setting in settings:
                    self._ask(contender.worker, rows, setting)
                if contender.peer.is_tuned:
                    seconds = [self._ask(contender.worker, rows, setting)[0] for setting in settings]
                    settings = [settings[int(np.argmin(seconds))]]
                contender.settings = settings
                contender.turns = {setting.name: [] for setting in settings}
            except PeerFailed as error:
                contender.give_up(error)
                if contender is self.reference:
                    raise

    def measure(self, rows: Slice, number: int) -> Round:
        """One round. The reference is first; the others begin with another one in each round.

        Raises:
            PeerFailed: the reference or the floor failed, so that there is nothing to compare with.
        """
        reference = self.reference
        assert reference.worker is not None
        size = reference.worker.ask("size", rows=rows.columns)
        floors = [self.floor.ask("rates")]
        expected = self._take_turns(reference, rows, None)
        others = [one for one in self.contenders if one is not reference and one.worker is not None]
        others = _turned(others, number)
        for place, contender in enumerate(others):
            try:
                self._take_turns(contender, rows, expected)
            except PeerFailed as error:
                contender.give_up(error)
            if (place + 1) * (_FLOORS - 1) // len(others) > place * (_FLOORS - 1) // len(others):
                floors.append(self.floor.ask("rates"))
        rates = {name: tuple(found[name] for found in floors) for name in floors[0]}
        return Round(rows.rows, **size, floor_rates=rates, floor=self.floor_name)

    def _take_turns(self, contender: Contender, rows: Slice, expected: Any) -> Any:
        """All settings of a peer; what it gave at the last one."""
        assert contender.worker is not None
        result = expected
        for setting in contender.settings:
            self.say(f"{contender.peer.name}{' ' if setting.name else ''}{setting.name}")
            seconds, result = self._ask(contender.worker, rows, setting)
            agreement = 1.0 if expected is None else self._agreement(expected, result)
            contender.turns[setting.name].append(Turn(seconds, agreement))
        return result

    def _ask(self, worker: Worker, rows: Slice, setting: Setting) -> tuple[float, Any]:
        """Seconds, and spans or vectors."""
        request: dict[str, Any] = {"rows": str(rows.path), "setting": dict(setting.values)}
        if self.task == "answer":
            answer = worker.ask("answer", **request)
            return answer["seconds"], answer["spans"]
        vectors = self.folder / "vectors.npy"
        seconds = worker.ask("embed", **request, vectors=str(vectors))["seconds"]
        return seconds, np.load(vectors)

    def _agreement(self, expected: Any, found: Any) -> float:
        """See `Turn.agreement`. Raises PeerFailed where there are not as many answers as rows, or other vectors."""
        if self.task == "answer":
            if len(found) != len(expected):
                raise PeerFailed(f"it gave {counted(len(found), 'answer')} for {counted(len(expected), 'row')}")
            return float(np.mean([ours == theirs for ours, theirs in zip(expected, found, strict=True)]))
        if found.shape != expected.shape:
            raise PeerFailed(f"it gave vectors of shape {found.shape}, and the engine {expected.shape}")
        return float((expected * found).sum(axis=1).min())


def _turned(contenders: Sequence[Contender], number: int) -> list[Contender]:
    first = number % max(len(contenders), 1)
    return [*contenders[first:], *contenders[:first]]
