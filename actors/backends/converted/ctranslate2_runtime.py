"""CTranslate2 on CPUs and GPUs: the encoders of a few kinds of model, and their QA head in numpy."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from actors.arrays import Floats
from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend, ModelOutput, Runtime
from actors.backends.converted.conversion import END, HEAD_FILE, HIDDEN, START, convert_ctranslate2
from actors.backends.converted.conversion_cache import ExportedAs, Form, is_converted
from actors.backends.converted.converted_backend import ConvertedBackend
from actors.backends.converted.loading import load_converted
from actors.backends.precision import EXACT, FastPrecision, Precision
from actors.batch import Batch
from actors.errors import ModelError
from actors.parameters import ModelParameters

_PACKAGES = ("torch", "transformers", "ctranslate2")


# Not "int8" alone, which leaves biases and norms in the type of the model.
QUANTIZATIONS = {EXACT: EXACT, "float16": "float16", "int8": "int8_float32"}
"""What CTranslate2's converter calls the values of `model.dtype`."""


def _form(dtype: str) -> Form:
    name = "ctranslate2" if dtype == EXACT else f"ctranslate2-{dtype}"
    make = partial(convert_ctranslate2, quantization=QUANTIZATIONS[dtype])
    return Form(name, _PACKAGES, make, exported=ExportedAs("ctranslate2", dtype, f"ctranslate2/{dtype}"))


_FORMS = {dtype: _form(dtype) for dtype in QUANTIZATIONS}


class CTranslate2Backend(ConvertedBackend):
    """An encoder of CTranslate2."""

    def __init__(self, converted: Path, device: str, dtype: str, threads: int | None) -> None:
        """Reads a converted model.

        Args:
            device: cpu, cuda, cuda:1 ...
            threads: None leaves their number to CTranslate2.
        """
        import ctranslate2
        from safetensors.numpy import load_file

        kind, _, number = device.partition(":")
        on_gpu = kind != "cpu"
        self._ct2 = ctranslate2
        self._encoder = ctranslate2.Encoder(
            str(converted),
            device=kind,
            device_index=int(number or 0),
            compute_type={"int8": "int8_float16" if on_gpu else "int8_float32"}.get(dtype, dtype),
            intra_threads=threads or 0,
        )
        head = converted / HEAD_FILE
        self._head = load_file(head) if head.is_file() else None
        hidden = self._encoder.forward_batch([[0]]).last_hidden_state
        super().__init__(device, int(hidden.shape[-1]))

    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """See `ConvertedBackend.compute`."""
        # They have names, since a view is of an array's own memory.
        ids, lengths, types = batch.input_ids.astype(np.int32), batch.lengths.astype(np.int32), batch.token_type_ids
        view = self._ct2.StorageView.from_array
        output = self._encoder.forward_batch(
            view(ids), view(lengths), None if types is None else types.tolist()
        ).last_hidden_state
        hidden: Floats = np.array(
            output.to(self._ct2.DataType.float32).to_device(self._ct2.Device.cpu), dtype=np.float32
        )
        found = {HIDDEN: hidden}
        if START in outputs and self._head is not None:
            logits = hidden @ self._head["weight"].T + self._head["bias"]
            found[START], found[END] = logits[..., 0], logits[..., 1]
        return {name: found[name] for name in outputs}


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    dtype, device = model.dtype or EXACT, model.device
    if device == "auto":
        device = "cuda" if _uses_gpu(device) else "cpu"
    if dtype == "float16" and device == "cpu":
        raise ModelError("model.dtype: float16 is for GPUs in the runtime ctranslate2; int8 is what is fast on CPUs")
    return load_converted(
        folder,
        _FORMS[dtype],
        lambda converted: CTranslate2Backend(converted, device, dtype, model.threads),
        model,
        with_qa_head,
        "ctranslate2",
    )


def _is_ready(folder: Path, dtype: str) -> bool:
    return dtype in _FORMS and is_converted(folder, _FORMS[dtype])


def _uses_gpu(device: str) -> bool:
    # Asked before a model is loaded, and so before anybody else looks.
    RUNTIME.check_installed()
    import ctranslate2

    return ctranslate2.get_cuda_device_count() > 0 if device == "auto" else not device.startswith("cpu")


def _choose(folder: Path, on_gpu: bool) -> Precision:
    if on_gpu:
        return Precision("float16", "the fastest of the runtime ctranslate2 on GPUs")
    return Precision("int8", "the fastest of the runtime ctranslate2 on CPUs")


RUNTIME = Runtime(
    name="ctranslate2",
    load=_load,
    weights=TRANSFORMERS_WEIGHTS,
    outputs=frozenset({ModelOutput.LOGITS, ModelOutput.POOLED, ModelOutput.LAST_HIDDEN}),
    fast=FastPrecision(_uses_gpu, _choose),
    dtypes=frozenset(_FORMS),
    packages=("ctranslate2",),
    exported="ctranslate2",
    extra="ctranslate2",
    is_ready=_is_ready,
    conversion_seconds=2.0,
)
