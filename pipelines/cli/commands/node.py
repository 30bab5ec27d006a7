"""`spanmill node` and `spanmill drain`: a node of a Ray cluster, and how it leaves it without losing work."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.stop_signals import STOPPED, heard_at_any_moment
from pipelines.console import open_console
from pipelines.errors import SpanmillError

_DRAIN_SECONDS = 100.0
_END_SECONDS = 15.0
"""Longest that `ray start` is waited for after the node has drained; what is left is killed then."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
}
"""As `pipelines.job.ray_cluster` sets it for local clusters."""

Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="HOST:PORT", help="The cluster; else RAY_ADDRESS, else this machine's node says."
    ),
]
Seconds = Annotated[
    float, typer.Option("--seconds", min=1.0, metavar="N", help="The node is switched off after so many seconds.")
]


def drain(
    address: Address = None,
    seconds: Seconds = _DRAIN_SECONDS,
    node: Annotated[
        str | None,
        typer.Option("--node", metavar="ID", help="Another node than this machine's: its id of Ray, in hex."),
    ] = None,
) -> None:
    """Let this machine's Ray node go: what it has in hand is finished or handed back, and nothing new comes to it.

    Ends once the node has left the cluster, or the time is over. For notices of spot machines and Kubernetes' preStop.
    """
    with heard_at_any_moment(STOPPED):
        _drain(address or os.environ.get("RAY_ADDRESS"), seconds, node)


def node(
    context: typer.Context,
    address: Annotated[
        str, typer.Option("--address", metavar="HOST:PORT", envvar="RAY_ADDRESS", help="The cluster that it joins.")
    ],
    seconds: Seconds = _DRAIN_SECONDS,
) -> None:
    """Join a Ray cluster with this machine, until SIGTERM or Ctrl-C; the node is drained before it ends.

    Further options are those of `ray start`: --num-cpus, --num-gpus, --resources, --labels, --temp-dir and others.
    """
    raise typer.Exit(run_node(address, seconds, context.args))


def run_node(address: str, seconds: float, more: Sequence[str]) -> int:
    """Runs `ray start --block` until a signal comes or it ends by itself; gives the exit code.

    Args:
        more: further arguments of `ray start`.
    """
    console, stop = open_console(stderr=True), threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    words = (str(Path(sys.executable).with_name("ray")), "start", f"--address={address}", "--block", *more)
    # In a session of its own: a signal for this process' group must not end the node before it has drained.
    ray = subprocess.Popen(words, env={**_ENVIRONMENT, **os.environ}, start_new_session=True)
    try:
        while not stop.wait(0.2):
            if ray.poll() is not None:
                return ray.returncode
        for number, handler in before.items():
            # A second signal breaks the draining off.
            signal.signal(number, handler)
        with heard_at_any_moment(STOPPED):
            try:
                _drain(address, seconds, below=os.getpid())
            except SpanmillError as error:
                console.print(f"not drained: {error}", soft_wrap=True, markup=False)
        return 0
    finally:
        _end(ray)


def _drain(address: str | None, seconds: float, node: str | None = None, below: int | None = None) -> None:
    # Ray comes with it, and takes a second.
    from pipelines.job.nodes.drain import drain as drain_node

    console = open_console(stderr=True)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    done = drain_node(address, seconds, say, node, below)
    if done.in_time:
        say(f"drained: node {done.node.address} has left the cluster after {done.seconds:.0f} s")
    else:
        say(
            f"the {seconds:g} s are over, and something still runs on node {done.node.address}, or is wanted from "
            "there; other nodes compute it again when this one is gone"
        )


def _end(ray: "subprocess.Popen[bytes]") -> None:
    if ray.poll() is None:
        ray.terminate()
    try:
        ray.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        ray.kill()
        ray.wait()
