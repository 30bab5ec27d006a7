"""What a form of a model is: how it is written into an exported folder, and how it is read back to be compared."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from actors.backends.base import Backend
from actors.backends.converted.parity import Deviation
from actors.errors import ModelError, first_line
from actors.registry import find_instance

FORMS = {
    "safetensors": "actors.export.weights:SAFETENSORS",
    "pytorch": "actors.export.weights:PYTORCH",
    "rust": "actors.export.rust:RUST",
    "onnx": "actors.export.onnx:ONNX",
    "openvino": "actors.export.openvino:OPENVINO",
    "ctranslate2": "actors.export.ctranslate2:CTRANSLATE2",
    "tensorflow": "actors.export.tensorflow:TENSORFLOW",
}
"""Values of `spanmill export --formats`, each with the place of its `ExportForm`; another package's are named by their
place, `package.module:OBJECT`."""


@dataclass(frozen=True)
class ExportTools:
    """What forms are written and read with, beside their packages."""

    pythons: Mapping[str, Path] = field(default_factory=dict)
    """Interpreters of environments that hold a form's packages, by the form's name, where this one does not."""
    threads: int | None = None
    """CPU threads of what is read back; None leaves their number to each runtime."""
    calibration: tuple[tuple[str, str], ...] = ()
    """Questions and passages by which activations are quantized beforehand; none take the built-in ones."""


@dataclass(frozen=True)
class ExportForm:
    """One form; small, and imported without the packages that write or read it."""

    name: str
    """In `--formats`, in the card, and for messages."""
    precisions: tuple[str, ...]
    """What it can be written in, float32 first: `float32`, `float16`, `int8`."""
    files: Callable[[str], tuple[str, ...]]
    """Patterns, by precision, of the files it has in an exported folder, relative to that: `onnx/model.onnx*`; `*`
    stands for names of folders too, as in `saved_model/*`. No two forms or precisions share a file."""
    write: Callable[[Path, Path, str, bool, ExportTools], None]
    """`write(folder, output, precision, with_qa_head, tools)` writes the files of one precision into `output`, where
    config, tokenizer and the float32 safetensors lie already, and the form's first precision before its others. Raises
    ModelError for a model that it cannot hold, which names the kinds that it can; OSError for the disk."""
    open: Callable[[Path, str, ExportTools], Backend]
    """`open(output, precision, tools)` reads that form back, in the runtime that its users have. Gives logits where the
    config of `output` names a QA head, and the last hidden states. Raises ModelError."""
    tolerances: Mapping[str, Deviation]
    """Most that it may be off torch in float32, by precision."""
    read_by: str
    """Who reads it, for the card: `ONNX Runtime, Optimum, Transformers.js`."""
    kinds: frozenset[str] | None = None
    """Values of `model_type` in config.json that it can hold; None for whatever transformers can load."""
    packages: tuple[str, ...] = ()
    """Modules that have to be importable here to write and read it, beside what Spanmill always needs."""
    extra: str = ""
    """The optional extra of Spanmill that installs them."""
    elsewhere: tuple[str, ...] = ()
    """Modules that may lie in an environment of their own instead, whose interpreter is `ExportTools.pythons[name]`."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Programs that have to be on the PATH to read it back, each with what installs it, for people."""
    packages_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Modules that writing one of its precisions needs beside `packages`, by precision; `lacking_for` tells of them."""
    extra_of: str = ""
    """The optional extra of Spanmill that installs those."""

    @property
    def missing_packages(self) -> list[str]:
        """Those of its packages that are not installed here; none is imported."""
        return [package for package in self.packages if find_spec(package) is None]

    def lacking(self, tools: ExportTools) -> str | None:
        """What has to be installed before it can be written and read, and how; None where nothing is missing."""
        if missing := self.missing_packages:
            return f"{_are_missing(missing)}; install with pip install 'spanmill[{self.extra}]'"
        there = self.name in tools.pythons
        if missing := [package for package in self.elsewhere if not there and find_spec(package) is None]:
            return f"{_are_missing(missing)}; name the Python of an environment that has it: --python {self.name}=PATH"
        if missing := [program for program in self.programs if which(program) is None]:
            return f"{_are_missing(missing)}; install with {self.programs[missing[0]]}"
        return None

    def lacking_for(self, precision: str) -> str | None:
        """What has to be installed beside that before it can be written in a precision, and how."""
        if missing := [package for package in self.packages_of.get(precision, ()) if find_spec(package) is None]:
            return f"{_are_missing(missing)}; install with pip install 'spanmill[{self.extra_of}]'"
        return None

    def found(self, folder: Path, precision: str) -> list[Path]:
        """Its files of a precision that an exported folder has, in the order of their names."""
        patterns = self.files(precision)
        return sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and any(fnmatchcase(path.relative_to(folder).as_posix(), one) for one in patterns)
        )

    def check_kind(self, folder: Path, model_type: str) -> None:
        """Raises ModelError, which names what it can hold, where a model is none of its kinds."""
        if self.kinds is not None and model_type not in self.kinds:
            raise ModelError(
                f"--formats: {folder} is a {model_type}, which the form {self.name} cannot hold; it holds "
                f"{', '.join(sorted(self.kinds))}. Leave {self.name} out"
            )


def find_form(name: str) -> ExportForm:
    """The form of a name.

    Raises:
        ModelError: there is none of this name, or it cannot be imported.
    """
    try:
        return find_instance(FORMS, name, "--formats", ExportForm)
    except LookupError as error:
        raise ModelError(str(error)) from error


@contextmanager
def read_back(place: Path, runtime: str) -> Iterator[None]:
    """A ModelError that names file and mend for whatever a runtime raises that cannot read a form.

    Args:
        runtime: what it is called, for the message.
    """
    try:
        yield
    except Exception as error:  # each of them raises its own kinds
        raise ModelError(f"{place} cannot be read by {runtime}: {first_line(error)}; export the model again") from error


def _are_missing(packages: list[str]) -> str:
    return f"{', '.join(packages)} {'is' if len(packages) == 1 else 'are'} not installed here"
