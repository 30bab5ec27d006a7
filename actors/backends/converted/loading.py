"""Loads a converted model: converts it where that was not done yet, reads it, and has it checked against torch."""

from collections.abc import Callable
from pathlib import Path

from actors.backends.base import Backend
from actors.backends.converted.conversion_cache import Form, converted_model, names_head
from actors.backends.converted.parity import check_parity
from actors.backends.precision import EXACT
from actors.errors import ModelError, first_line
from actors.parameters import ModelParameters


def load_converted(
    folder: Path,
    form: Form,
    read: Callable[[Path], Backend],
    model: ModelParameters,
    with_qa_head: bool,
    package: str,
) -> Backend:
    """The converted model of a folder, ready for a pass; an exported one is read where it lies.

    Args:
        read: reads what lies in a converted folder.
        model: its dtype is what it computes in.
        package: the distribution that computes, whose version the parity check hangs on.

    Raises:
        ModelError: it cannot be converted, kept or read, is an export that is damaged, or computes something else than
            torch does.
    """
    has_head = with_qa_head or names_head(folder)
    converted = converted_model(folder, form, has_head)
    try:
        backend = read(converted.folder)
    except Exception as error:  # each runtime raises its own kinds
        mend = "export the model again" if converted.is_exported else "remove the folder, and it is converted anew"
        raise ModelError(
            f"{converted.folder}: the converted model cannot be read; {mend}: {first_line(error)}"
        ) from error
    check_parity(backend, folder, converted, model.dtype or EXACT, package, has_head, model.threads)
    return backend


def check_on_cpu(name: str, model: ModelParameters) -> None:
    """Raises ModelError where a device is named that a runtime for CPUs does not have."""
    if model.device not in ("cpu", "auto"):
        raise ModelError(f"model.device: {model.device}, but the runtime {name} computes on CPUs; set it to cpu")
