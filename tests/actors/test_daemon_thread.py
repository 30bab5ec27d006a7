"""Calls in threads of their own."""

import signal
import threading

import pytest

from actors.daemon_thread import in_daemon_thread, is_any_left


def test_it_gives_what_the_call_gives_or_raises() -> None:
    assert in_daemon_thread(lambda: 1 + 1).result(60) == 2
    with pytest.raises(ValueError, match="invalid literal"):
        in_daemon_thread(lambda: int("one")).result(60)


def test_ctrl_c_is_heard_meanwhile_and_the_call_is_not_cut_off() -> None:
    main, goes_on, ended = threading.get_ident(), threading.Event(), threading.Event()

    def call() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        assert goes_on.wait(60)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        in_daemon_thread(call).result(60)
    assert is_any_left()
    goes_on.set()
    assert ended.wait(60)
