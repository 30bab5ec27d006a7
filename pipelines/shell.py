"""How the programs of this environment are called in the shell that a command was run in."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def python() -> str:
    """What runs this Python, quoted for a shell: it has the packages that a job has, which another one may lack."""
    return shlex.quote(_shortest(sys.executable))


def spanmill() -> str:
    """What runs the `spanmill` command of this environment, quoted for a shell; `spanmill` where there is none."""
    called = sys.argv[0]
    if Path(called).name == "spanmill" and os.path.isfile(called):
        return shlex.quote(_shortest(called))
    beside = Path(sys.executable).with_name("spanmill")
    return shlex.quote(_shortest(str(beside))) if beside.is_file() else "spanmill"


def relative(path: str) -> str:
    """A local path as the shell's folder shortens it; anything else, a URL for example, as it is."""
    return os.path.relpath(path) if os.path.isabs(path) and Path(path).is_relative_to(Path.cwd()) else path


def _shortest(program: str) -> str:
    """The name alone where the shell finds it by that, else the path."""
    name = os.path.basename(program)
    found = shutil.which(name)
    is_found = found is not None and os.path.abspath(found) == os.path.abspath(program)
    return name if is_found else relative(program)
