"""ONNX Runtime on CPUs: in float32, or with weights of 8 bits and activations that are quantized pass by pass."""

from collections.abc import Sequence
from pathlib import Path

from actors.arrays import Floats
from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend, ModelOutput, Runtime
from actors.backends.converted.conversion import HIDDEN, ONNX_FILE, ONNX_INT8_FILE, export_onnx, quantize_onnx
from actors.backends.converted.conversion_cache import ExportedAs, Form, is_converted
from actors.backends.converted.converted_backend import ConvertedBackend, padded_inputs
from actors.backends.converted.loading import check_on_cpu, load_converted
from actors.backends.precision import EXACT, FastPrecision, Precision
from actors.batch import Batch
from actors.parameters import ModelParameters

_ONNX = Form(
    "onnx",
    ("torch", "transformers", "onnx", "onnxscript", "onnx-ir"),
    export_onnx,
    exported=ExportedAs("onnx", EXACT, "onnx"),
)
_FORMS = {
    EXACT: _ONNX,
    "int8": Form(
        "onnx-int8",
        (*_ONNX.packages, "onnxruntime"),
        lambda exported, target, with_qa_head: quantize_onnx(exported, target),
        source=_ONNX,
        exported=ExportedAs("onnx", "int8", "onnx"),
    ),
}
_FILES = {EXACT: ONNX_FILE, "int8": ONNX_INT8_FILE}


class OnnxBackend(ConvertedBackend):
    """A session of ONNX Runtime."""

    def __init__(self, file: Path, threads: int | None) -> None:
        """Reads a converted model.

        Args:
            threads: None leaves their number to ONNX Runtime.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # One would be kept for every shape, and passes come in ever new ones.
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._inputs = [given.name for given in self._session.get_inputs()]
        hidden = next(output for output in self._session.get_outputs() if output.name == HIDDEN)
        super().__init__("cpu", int(hidden.shape[-1]))

    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """See `ConvertedBackend.compute`."""
        found = self._session.run(list(outputs), padded_inputs(batch, self._inputs))
        return dict(zip(outputs, found, strict=True))


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    dtype = model.dtype or EXACT
    check_on_cpu("onnxruntime", model)
    return load_converted(
        folder,
        _FORMS[dtype],
        lambda converted: OnnxBackend(converted / _FILES[dtype], model.threads),
        model,
        with_qa_head,
        "onnxruntime",
    )


def _is_ready(folder: Path, dtype: str) -> bool:
    return dtype in _FORMS and is_converted(folder, _FORMS[dtype])


def _choose(folder: Path, on_gpu: bool) -> Precision:
    if on_gpu:
        return Precision(EXACT, "which the runtime onnxruntime, on CPUs alone, is asked for where a pool has GPUs")
    return Precision("int8", "the fastest of the runtime onnxruntime on CPUs")


RUNTIME = Runtime(
    name="onnxruntime",
    load=_load,
    weights=TRANSFORMERS_WEIGHTS,
    outputs=frozenset({ModelOutput.LOGITS, ModelOutput.POOLED, ModelOutput.LAST_HIDDEN}),
    fast=FastPrecision(uses_gpu=lambda device: False, choose=_choose),
    dtypes=frozenset(_FORMS),
    packages=("onnxruntime", "onnx", "onnxscript"),
    convert_only=frozenset({"onnx", "onnxscript"}),
    exported="onnx",
    extra="onnxruntime",
    is_ready=_is_ready,
    conversion_seconds=22.0,
)
