"""Exported folders of golden models, made of conversions that other tests made already."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from shutil import copytree, ignore_patterns

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.converted import ctranslate2_runtime, onnx_runtime, openvino_runtime
from actors.backends.converted.conversion_cache import converted_folder, names_head
from actors.backends.exported import EXPORT_VERSION, ExportedFile, ExportedForm, ExportRecord, write_export
from actors.backends.fingerprint import content_fingerprint

FormKey = tuple[str, str]
"""Name and precision."""
_CONVERSIONS = {
    **{("onnx", dtype): form for dtype, form in onnx_runtime._FORMS.items()},
    **{("ctranslate2", dtype): form for dtype, form in ctranslate2_runtime._FORMS.items()},
    ("openvino", "float32"): openvino_runtime._FORM,
}
_ROOT_FILES = {("safetensors", "float32"): "model.safetensors", ("pytorch", "float32"): "pytorch_model.bin"}


def exported(model: Path, output: Path, *forms: FormKey) -> Path:
    """`output`, laid out as `spanmill export` does: the model, the files of these forms, and the record."""
    copytree(model, output)
    for key in forms:
        if key in _CONVERSIONS:
            form = _CONVERSIONS[key]
            assert form.exported is not None
            source = converted_folder(model, form, names_head(model))
            copytree(source, output / form.exported.folder, dirs_exist_ok=True, ignore=ignore_patterns("parity-*"))
    record(output, forms)
    return output


def record(output: Path, forms: Iterable[FormKey]) -> None:
    """Writes the record of what lies in a folder now."""
    found = tuple(ExportedForm(*key, tuple(_file(output, path) for path in _paths(output, key))) for key in forms)
    fingerprint = content_fingerprint(output, TRANSFORMERS_WEIGHTS)
    write_export(output, ExportRecord(EXPORT_VERSION, fingerprint, names_head(output), found))


def flip(path: Path) -> None:
    """Changes a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _paths(output: Path, key: FormKey) -> list[Path]:
    if key in _ROOT_FILES:
        return [output / _ROOT_FILES[key]]
    name, precision = key
    patterns = {
        "onnx": "onnx/model_quantized.onnx*" if precision == "int8" else "onnx/model.onnx*",
        "ctranslate2": f"ctranslate2/{precision}/*",
        "openvino": "openvino/openvino_model.*",
    }
    return sorted(output.glob(patterns[name])) if name in patterns else []


def _file(output: Path, path: Path) -> ExportedFile:
    data = path.read_bytes()
    return ExportedFile(path.relative_to(output).as_posix(), len(data), sha256(data).hexdigest())
