"""A call in a process of its own, whose imports and memory are gone when it has ended."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pipelines.errors import JobError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_PROGRAM = "from pipelines.job.side_process import serve_call; serve_call()"


def in_side_process(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """What a function gives, or raises, in a Python process of its own.

    For a process that lives for days and needs once what it takes torch to find out. The process is killed where the
    caller is interrupted.

    Args:
        function: one of a module's top level; it, its arguments and what it gives or raises cross by pickle.

    Raises:
        JobError: the process ended before it had an answer.
    """
    # Not multiprocessing, whose first process leaves a second one running, and imports the caller's main module.
    # In a session of its own, since Ctrl-C in a terminal is for the caller to hear.
    done = subprocess.run(
        (sys.executable, "-P", "-c", _PROGRAM),
        input=pickle.dumps((function, args, kwargs)),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        raise JobError(
            f"the process that was to run {function.__name__} ended early, with exit code {done.returncode}; -9 means "
            "mostly that the machine's memory was full"
        )
    result, error = pickle.loads(done.stdout)
    if error is not None:
        raise error
    answer: Result = result
    return answer


def serve_call() -> None:
    """Answers the call that comes by stdin; for `in_side_process` only."""
    with os.fdopen(os.dup(1), "wb") as answers:
        # What libraries print must not get into the answer.
        os.dup2(2, 1)
        outcome = _outcome(*pickle.load(sys.stdin.buffer))
        try:
            answer = pickle.dumps(outcome)
        except Exception as error:
            cause = outcome[1] or error
            answer = pickle.dumps((None, JobError(f"{type(cause).__name__}: {cause}")))
        answers.write(answer)


def _outcome(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[object, ...]:
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error
