"""Environments of peers whose packages do not go together with those of this one."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from sysconfig import get_path

from packaging.requirements import Requirement
from rich.console import Console

from actors.cache import cache_folder
from actors.version import installed
from pipelines.bench.worker import Interpreter
from pipelines.errors import ConfigError, SpanmillError

_ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in json.loads(sys.argv[1]):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_SAID_LINES = 12
_BEHIND = "spanmill_bench_behind.pth"


@dataclass(frozen=True)
class Environment:
    """A set of exact versions."""

    name: str
    pins: tuple[str, ...]
    """As pip takes them; torch is that of this environment, whichever it is."""

    @property
    def folder(self) -> Path:
        """Where `prepare` makes it."""
        return cache_folder("bench") / self.name

    @property
    def python(self) -> Path:
        """Its interpreter, if it is made."""
        return self.folder / "bin" / "python"


TRANSFORMERS_4 = Environment(
    "transformers4",
    (
        "transformers==4.57.6",
        "sentence-transformers==5.7.0",
        "optimum-onnx==0.1.0",
        "optimum-intel==1.27.0",
        "onnxruntime==1.32.0",
        "openvino==2026.4.1",
    ),
)
INFINITY = Environment(
    "infinity",
    ("infinity-emb[torch]==0.0.78", "transformers==4.57.6", "sentence-transformers==3.4.1"),
)
FASTEMBED = Environment("fastembed", ("fastembed==0.9.1", "onnxruntime==1.32.0"))
ENVIRONMENTS = (TRANSFORMERS_4, INFINITY, FASTEMBED)


def missing(interpreter: Interpreter, requirements: Sequence[str]) -> list[str]:
    """Those of some requirements, as pip writes them, that an environment does not fulfil."""
    wanted = [Requirement(text) for text in requirements]
    found = _versions(interpreter, [requirement.name for requirement in wanted])
    return [str(one) for one in wanted if one.name not in found or not one.specifier.contains(found[one.name], True)]


def _versions(interpreter: Interpreter, names: Sequence[str]) -> Mapping[str, str]:
    if interpreter.is_own:
        return {name: there for name in names if (there := installed(name)) is not None}
    words = interpreter.command("-c", _ASK, json.dumps(names))
    try:
        found: dict[str, str] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError, json.JSONDecodeError) as error:
        raise ConfigError(f"--python: {interpreter.python} does not run as a Python: {error}") from error
    return found


def own() -> Interpreter:
    """This environment."""
    return Interpreter(Path(sys.executable), is_own=True)


def prepare(environment: Environment, console: Console) -> None:
    """Makes an environment where it is not there yet; what was begun and not ended is begun anew.

    What it does not pin, torch before all, it takes from this environment: nothing of that is downloaded again.

    Raises:
        SpanmillError: it cannot be made.
    """
    done = environment.folder / "prepared.json"
    if done.is_file() and done.read_text() == json.dumps(environment.pins):
        console.print(f"{environment.name}: is there, in {environment.folder}", soft_wrap=True)
        return
    shutil.rmtree(environment.folder, ignore_errors=True)
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    console.print(f"{environment.name}: installing {', '.join(environment.pins)}; it takes minutes", soft_wrap=True)
    _run([sys.executable, "-m", "venv", str(environment.folder)], environment)
    packages = environment.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # Searched behind its own, so that a package that it has itself is always that one.
    (packages / _BEHIND).write_text(get_path("purelib") + "\n")
    pip = [str(environment.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, f"torch=={version('torch').partition('+')[0]}", *environment.pins], environment)
    done.write_text(json.dumps(environment.pins))
    console.print(f"{environment.name}: ready, in {environment.folder}", soft_wrap=True)


def _run(words: list[str], environment: Environment) -> None:
    # Kept back unless it fails: pip warns that what it installs does not go with Spanmill, which is why it is apart.
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-_SAID_LINES:])
        raise SpanmillError(
            f"{environment.name}: {shlex.join(words)} ended with exit code {done.returncode}:\n{said}\n"
            f"Mend that, or name an environment of your own with --python {environment.name}=PATH"
        )


def interpreters_of(given: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """The interpreters that are named by hand.

    Args:
        given: NAME=PATH each.
        names: that there are.

    Raises:
        ConfigError: one is not of that form, names nobody, or names a file that is not there.
    """
    found = {}
    for text in given:
        name, _, path = text.partition("=")
        if not path or name not in names:
            raise ConfigError(f"--python: {text!r} is not NAME=PATH with a NAME of {', '.join(names)}")
        if not Path(path).is_file():
            raise ConfigError(f"--python: there is no {path}; name the python of an environment")
        # Not resolved: the link in an environment is what makes it one.
        found[name] = Path(path).absolute()
    return found
