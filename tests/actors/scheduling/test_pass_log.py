"""What is noted of a pass for each of the requests that share it."""

from typing import Any

import numpy as np

from actors.scheduling.pass_log import LoggedPass, PassLog, log_pass


class _Request:
    """What the log looks at of a request in the queue."""

    def __init__(self, name: str | None) -> None:
        self.log = None if name is None else PassLog(name)


def _windows(*parts: tuple[str | None, int]) -> Any:
    return {_Request(name): np.arange(windows) for name, windows in parts}


def test_the_first_of_a_shared_pass_is_linked_with_all_others_and_they_with_it() -> None:
    windows = _windows(("a", 2), (None, 4), ("b", 1), ("c", 3))
    log_pass(windows, 1.0, 2.5)
    logged = [request.log.passes for request in windows if request.log]
    assert logged == [
        [LoggedPass(1.0, 2.5, 2, 10, 4, ("b", "c"), "")],
        [LoggedPass(1.0, 2.5, 1, 10, 4, ("a",), "")],
        [LoggedPass(1.0, 2.5, 3, 10, 4, ("a",), "")],
    ]


def test_passes_of_one_request_come_in_their_order_and_a_failure_with_its_kind() -> None:
    windows = _windows(("a", 2))
    log_pass(windows, 1.0, 2.0, "OutOfMemory")
    log_pass(windows, 3.0, 4.0)
    [request] = windows
    assert request.log.passes == [
        LoggedPass(1.0, 2.0, 2, 2, 1, (), "OutOfMemory"),
        LoggedPass(3.0, 4.0, 2, 2, 1, (), ""),
    ]


def test_nothing_is_noted_of_what_is_not_traced() -> None:
    windows = _windows((None, 2), (None, 1))
    log_pass(windows, 1.0, 2.0)
    assert all(request.log is None for request in windows)
