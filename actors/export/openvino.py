"""The form that OpenVINO reads: its intermediate representation in float32, float16 and 8 bits."""

from pathlib import Path
from typing import Any

from actors.backends.base import Backend
from actors.backends.converted.conversion import OPENVINO_FILE, explained, export_openvino, silent
from actors.backends.converted.openvino_runtime import OpenVINOBackend
from actors.backends.converted.parity import TOLERANCES, Deviation, find_tokenizer, longest_trial_window
from actors.backends.precision import EXACT
from actors.errors import ModelError
from actors.export.form import ExportForm, ExportTools, read_back
from actors.model_config import load_config

FOLDER = "openvino"
"""Where sentence-transformers looks. Optimum Intel looks at the top of a folder, unless told `subfolder="openvino"`."""
_FILES = {
    EXACT: OPENVINO_FILE,
    "float16": "openvino_model_fp16.xml",
    "int8": "openvino_model_qint8_quantized.xml",
}
_INT8 = Deviation(hidden=0.2, logits=0.3, largest=float("inf"))
"""About twice what the model that ships is off by, 0.09 and 0.12; small models of tests are off by less. Settings that
cost three points of F1 were off by 0.13 and 0.19, and a conversion gone wrong is by 1 or more."""
_QUESTIONS = (
    "Who repaired the bridge?",
    "When did the ferry stop running, and who decided it?",
    "How much did the mill earn in its first year?",
    "Why was the school moved to the upper town?",
)
_SENTENCES = (
    "The bridge over the Tarn was repaired in 1921 by two masons from the next valley.",
    "A ferry had run beside it since 1874; the council stopped it on 3 May 1922, by five votes to four.",
    "In its first year the mill earned 4,310 crowns, of which a third went to the owners of the weir.",
    "Because the river rose every spring, the school was moved to the upper town in 1909.",
    "Her letters name the pupils, their villages & the wages of the teachers (twelve crowns a month).",
    "Nobody knows who drew the map; the paper is older than the ink, and the names are in two hands.",
)


def _files(precision: str) -> tuple[str, ...]:
    name = _FILES[precision]
    return f"{FOLDER}/{name}", f"{FOLDER}/{Path(name).with_suffix('.bin')}"


def _write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    place = output / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    if precision == EXACT:
        export_openvino(folder, place, with_qa_head)
        return
    if lacks := OPENVINO.lacking_for(precision):
        raise ModelError(f"openvino in {precision}: {lacks}")
    import openvino

    with explained(folder, "model", f"OpenVINO in {precision}"), silent():
        model = openvino.Core().read_model(str(place / OPENVINO_FILE))
        if precision == "int8":
            model = _quantized(model, _calibration_inputs(folder, model, tools))
        openvino.save_model(model, str(place / _FILES[precision]), compress_to_fp16=precision == "float16")


def _quantized(model: Any, inputs: list[dict[str, Any]]) -> Any:
    """Weights and activations of 8 bits, but for the QA head: it costs nothing and decides the answers.

    The settings were measured on the model that ships: docs/export-forms.md has the figures.
    """
    import nncf
    from nncf.quantization.advanced_parameters import OverflowFix

    heads = [
        operation.get_friendly_name()
        for operation in model.get_ops()
        if operation.get_type_name() == "MatMul" and str(operation.get_output_partial_shape(0)[-1]) == "2"
    ]
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        # Activations have a zero point: without one, six more of a hundred answers were others.
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=heads) if heads else None,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # CPUs without VNNI add products of two 8-bit numbers in 16 bits, which overflow unless the weights have 7.
            overflow_fix=OverflowFix.ENABLE,
            # SmoothQuant, nncf's default, moves the range of activations into the weights: answers were no better for
            # it, and vectors much further off.
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1),
        ),
    )


def _calibration_inputs(folder: Path, model: Any, tools: ExportTools) -> list[dict[str, Any]]:
    """A window [1, S] int64 for each pair, by the names of the model's inputs.

    Raises:
        ModelError: the folder has no tokenizer.
    """
    import numpy as np

    tokenizer = find_tokenizer(folder)
    if tokenizer is None:
        raise ModelError(f"{folder}: 8 bits are chosen by texts, and it has no tokenizer; copy tokenizer.json there")
    longest = longest_trial_window(tokenizer, load_config(folder))
    names, windows = [given.any_name for given in model.inputs], []
    for question, passage in tools.calibration or _built_in_pairs():
        found = tokenizer(question, passage, truncation="only_second", max_length=longest, return_token_type_ids=True)
        windows.append({name: np.array([found[name]], dtype=np.int64) for name in names})
    return windows


def _built_in_pairs() -> tuple[tuple[str, str], ...]:
    """48 pairs, whose passages have from one sentence to twelve."""
    return tuple(
        (
            _QUESTIONS[number % len(_QUESTIONS)],
            " ".join(_SENTENCES[(number + place) % len(_SENTENCES)] for place in range(1 + number % 12)),
        )
        for number in range(48)
    )


def _open(output: Path, precision: str, tools: ExportTools) -> Backend:
    file = output / FOLDER / _FILES[precision]
    with read_back(file, "OpenVINO"):
        return OpenVINOBackend(file, tools.threads)


OPENVINO = ExportForm(
    name="openvino",
    precisions=tuple(_FILES),
    files=_files,
    write=_write,
    open=_open,
    tolerances=TOLERANCES | {"int8": _INT8},
    read_by="OpenVINO, Optimum Intel",
    packages=("openvino",),
    extra="openvino",
    packages_of={"int8": ("nncf",)},
    extra_of="export",
)
