"""OpenVINO on CPUs, in float32."""

from collections.abc import Sequence
from pathlib import Path

from actors.arrays import Floats
from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend, ModelOutput, Runtime
from actors.backends.converted.conversion import HIDDEN, OPENVINO_FILE, export_openvino
from actors.backends.converted.conversion_cache import ExportedAs, Form, is_converted
from actors.backends.converted.converted_backend import ConvertedBackend, padded_inputs
from actors.backends.converted.loading import check_on_cpu, load_converted
from actors.backends.precision import EXACT
from actors.batch import Batch
from actors.parameters import ModelParameters

_FORM = Form(
    "openvino",
    ("torch", "transformers", "openvino"),
    export_openvino,
    exported=ExportedAs("openvino", EXACT, "openvino"),
)


class OpenVINOBackend(ConvertedBackend):
    """A model that OpenVINO compiled for this CPU."""

    def __init__(self, file: Path, threads: int | None) -> None:
        """Reads a converted model and compiles it.

        Args:
            threads: None leaves their number to OpenVINO.
        """
        import openvino

        settings: dict[str, object] = {
            # Its own choice is bfloat16 on CPUs that have it.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            # Each process would bind its threads to the machine's first cores.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._model = openvino.Core().compile_model(str(file), "CPU", settings)
        self._inputs = [given.any_name for given in self._model.inputs]
        super().__init__("cpu", self._model.output(HIDDEN).partial_shape[-1].get_length())

    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """See `ConvertedBackend.compute`."""
        found = self._model(padded_inputs(batch, self._inputs))
        return {name: found[name] for name in outputs}


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    check_on_cpu("openvino", model)
    return load_converted(
        folder,
        _FORM,
        lambda converted: OpenVINOBackend(converted / OPENVINO_FILE, model.threads),
        model,
        with_qa_head,
        "openvino",
    )


def _is_ready(folder: Path, dtype: str) -> bool:
    return dtype == EXACT and is_converted(folder, _FORM)


RUNTIME = Runtime(
    name="openvino",
    load=_load,
    weights=TRANSFORMERS_WEIGHTS,
    outputs=frozenset({ModelOutput.LOGITS, ModelOutput.POOLED, ModelOutput.LAST_HIDDEN}),
    packages=("openvino",),
    exported="openvino",
    extra="openvino",
    is_ready=_is_ready,
    conversion_seconds=15.0,
)
