"""`spanmill doctor`: what this machine has and lacks for Spanmill, and how to mend it."""

import os
import platform
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.table import Table

from actors.backends.base import find_runtime
from actors.errors import ModelError, first_line
from actors.models.hub import find_model
from actors.parameters import ModelParameters
from actors.registry import RUNTIMES
from pipelines.config.service import ServeConfig
from pipelines.console import open_console
from pipelines.errors import ConfigError, SpanmillError
from pipelines.storage.filesystem import resolve

State = Literal["ok", "note", "wrong"]
_STORES = {"s3": "s3fs", "gcs": "gcsfs", "azure": "adlfs"}
_GIB = 1 << 30
_LEAST_FREE = 2 * _GIB
"""Bytes of memory and of Ray's folder below which a local job is likely to fail: Ray and the model want more."""


@dataclass(frozen=True)
class Finding:
    """What one look found."""

    what: str
    state: State
    """note: something that not everybody needs."""
    found: str
    mend: str = ""


def examine(model: str, address: str | None = None, stores: Sequence[str] = ()) -> Iterator[Finding]:
    """Looks at packages, devices, memory, the model, stores and ports; quick things first. Starts no Ray.

    Args:
        address: of a cluster whose nodes are asked, too; None takes the one that RAY_ADDRESS names, if any.
        stores: URLs that each of them has to reach.

    Raises:
        ConfigError: there are stores, and no cluster is named.
    """
    source, address = ("--address ", address) if address else ("RAY_ADDRESS=", os.environ.get("RAY_ADDRESS"))
    if stores and not address:
        raise ConfigError("--store: nodes of a cluster look for it; name the cluster by --address or RAY_ADDRESS")
    yield Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")
    for package in ("spanmill", "ray", "torch", "transformers", "tokenizers", "pyarrow", "fsspec"):
        yield _package(package)
    for extra, package in _STORES.items():
        yield _store(extra, package)
    for name in RUNTIMES:
        yield from _runtime(name)
    yield _model(model)
    yield _memory()
    yield _room(Path(os.environ.get("RAY_TMPDIR", "/tmp")))
    yield _port(ServeConfig().http.port)
    cluster = _cluster(address, source)
    yield cluster
    if address and cluster.state == "ok":
        yield from _nodes(address, model, stores)
    yield _devices()


def show(model: str, address: str | None = None, stores: Sequence[str] = ()) -> bool:
    """Prints the findings, as `examine` gives them; True where nothing is wrong."""
    table = Table(box=None, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    fine = True
    for finding in examine(model, address, stores):
        fine &= finding.state != "wrong"
        mark = {"ok": "ok", "note": "-", "wrong": "WRONG"}[finding.state]
        table.add_row(mark, finding.what, f"{finding.found}{'; ' if finding.mend else ''}{finding.mend}")
    open_console().print(table)
    return fine


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "wrong", "not installed", f"pip install {name}")


def _store(extra: str, package: str) -> Finding:
    if find_spec(package) is None:
        return Finding(f"{extra} storage", "note", f"{package} is not installed", f"pip install 'spanmill[{extra}]'")
    return Finding(f"{extra} storage", "ok", f"{package} {version(package)}")


def _runtime(name: str) -> Iterator[Finding]:
    """Nothing of those that need no packages of their own."""
    runtime = find_runtime(name)
    if not runtime.packages:
        return
    what = f"{name} runtime"
    if runtime.missing_packages:
        missing = ", ".join(runtime.missing_packages)
        mend = f"pip install 'spanmill[{runtime.extra}]'"
        yield Finding(what, "note", f"{missing} {'is' if ',' not in missing else 'are'} not installed", mend)
    else:
        yield Finding(what, "ok", ", ".join(f"{package} {version(package)}" for package in runtime.packages))


def _model(name: str) -> Finding:
    try:
        return Finding("model", "ok", f"{name}, in {find_model(ModelParameters(name=name))}")
    except ModelError as error:
        return Finding("model", "wrong", first_line(error))


def _memory() -> Finding:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = f"{free / _GIB:.1f} GiB free, {os.cpu_count()} CPUs"
    if free < _LEAST_FREE:
        return Finding("memory", "wrong", found, "close something, or name a cluster with --set ray.address=HOST:PORT")
    return Finding("memory", "ok", found)


def _room(folder: Path) -> Finding:
    # Ray makes the folder where it is missing.
    disk = os.statvfs(next(place for place in (folder, *folder.absolute().parents) if place.is_dir()))
    free = disk.f_bavail * disk.f_frsize
    found = f"{free / _GIB:.1f} GiB free in {folder}, where Ray keeps its sessions"
    if free < _LEAST_FREE:
        return Finding("disk", "wrong", found, "make room, or name another folder: RAY_TMPDIR=/a/short/path")
    return Finding("disk", "ok", found)


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return Finding("port", "note", f"{port} is taken", "`spanmill serve --port` takes another")
    return Finding("port", "ok", f"{port} is free for `spanmill serve`")


def _cluster(address: str | None, source: str) -> Finding:
    """Whether the cluster that this source names answers."""
    if not address:
        return Finding("cluster", "ok", "none is named (RAY_ADDRESS), so a job starts a local one")
    from pipelines.job.cluster_check import check_answers

    try:
        check_answers(address)
    except (ConnectionError, ValueError) as error:
        return Finding("cluster", "wrong", f"{source}{address}: {first_line(error)}")
    return Finding("cluster", "ok", f"{source}{address} answers")


def _nodes(address: str, model: str, stores: Sequence[str]) -> Iterator[Finding]:
    """What the nodes of a cluster say of themselves."""
    from pipelines.config.job import ClusterParameters
    from pipelines.job.nodes.check import ask, findings, living_nodes, model_questions
    from pipelines.job.nodes.facts import WantedFile
    from pipelines.job.ray_cluster import connected

    try:
        files = [WantedFile("store", store, store.root) for store in map(resolve, stores)]
        with connected(ClusterParameters(address=address)):
            questions = model_questions(ModelParameters(name=model), files)
            asked = ask([node for node in living_nodes() if node.can_work], questions)
    except SpanmillError as error:
        yield Finding("nodes", "wrong", str(error))
        return
    found = findings(asked, questions)
    for finding in found:
        yield Finding(f"node {finding.name}", "wrong" if finding.refused else "note", finding.text)
    for one in asked:
        if one.facts is not None and one.node.id not in {finding.node.id for finding in found}:
            listed = ", ".join(f"{package} {version}" for package, version in one.facts.versions.items())
            yield Finding(f"node {one.facts.host} ({one.node.address})", "ok", f"{listed}; clock, disks and stores too")


def _devices() -> Finding:
    from actors.backends.pytorch.torch_backend import gpu_names

    names = gpu_names()
    return Finding("devices", "ok", ", ".join(names) if names else "the CPU; torch sees no GPU here")
