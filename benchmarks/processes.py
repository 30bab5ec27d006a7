"""What a command and everything that it started take, from Linux's /proc."""

import os
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass
class Usage:
    """Of a process tree, sample by sample."""

    peak_mb: float = 0.0
    """Most memory at once: proportional set sizes of all processes, so that shared pages count once."""
    peak_by_kind: Counter[str] = field(default_factory=Counter)
    """MB at that moment, by kind of process."""
    history: list[tuple[float, Counter[str]]] = field(default_factory=list)
    """Unix time of every sample, and seconds of CPU until then by kind of process."""

    def cpu_seconds(self, start: float, stop: float) -> Counter[str]:
        """CPU by kind of process between two moments."""
        within = [cpu for moment, cpu in self.history if start <= moment <= stop]
        return within[-1] - within[0] if len(within) > 1 else Counter()


def run_watched(words: Sequence[str], every_seconds: float) -> Usage:
    """Runs a command to its end, and watches it.

    Raises:
        CalledProcessError: the command failed.
    """
    usage, stop = Usage(), threading.Event()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    watcher = threading.Thread(target=_watch, args=(process.pid, usage, stop, every_seconds))
    watcher.start()
    try:
        code = process.wait()
    finally:
        stop.set()
        watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, words)
    return usage


def _watch(root: int, usage: Usage, stop: threading.Event, every_seconds: float) -> None:
    spent: dict[int, float] = {}
    total: Counter[str] = Counter()
    while not stop.wait(every_seconds):
        memory: Counter[str] = Counter()
        for pid in tree(root):
            try:
                name, cpu, resident = kind(pid), _cpu_seconds(pid), memory_mb(pid)[1]
            except (OSError, IndexError):  # it has ended
                continue
            # A worker is counted as what it does now: Ray gives it now this task, now that.
            total[name] += cpu - spent.get(pid, 0.0)  # type: ignore[assignment]
            spent[pid] = cpu
            memory[name] += resident  # type: ignore[assignment]
        usage.history.append((time.time(), total.copy()))
        if sum(memory.values()) > usage.peak_mb:
            usage.peak_mb, usage.peak_by_kind = float(sum(memory.values())), memory


def tree(root: int) -> Iterator[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children[parent].append(int(folder.name))
    left = [root]
    while left:
        pid = left.pop()
        yield pid
        left += children[pid]


def kind(pid: int) -> str:
    """What a process is: the title that Ray gave it, a program, or the module that Python runs.

    Raises:
        OSError, IndexError: it has ended.
    """
    words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    name = os.path.basename(words[0])
    if words[0].startswith("ray::"):
        return words[0].removeprefix("ray::").split()[0]
    return os.path.basename(words[1]) if name.startswith("python") and len(words) > 1 else name


def _cpu_seconds(pid: int) -> float:
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident set size, and proportional one, in which pages that several processes share count once.

    Raises:
        OSError: it has ended.
    """
    lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return sizes.get("Rss:", 0.0), sizes.get("Pss:", 0.0)
