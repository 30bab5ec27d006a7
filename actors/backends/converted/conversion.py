"""Converts a model folder into what another runtime reads: one folder in, one folder out, whoever asks for it.

Everything heavy is imported by the function that needs it: a converted model is loaded without transformers or torch.
"""

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from actors.daemon_thread import in_daemon_thread
from actors.errors import ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

START, END, HIDDEN = "start_logits", "end_logits", "last_hidden_state"
"""What the outputs of a converted model are called: [n, S] float32 each, the hidden states [n, S, D]. Without
a QA head it has the hidden states alone."""
ONNX_FILE, ONNX_HALF_FILE, ONNX_INT8_FILE = "model.onnx", "model_fp16.onnx", "model_quantized.onnx"
OPENVINO_FILE = "openvino_model.xml"
HEAD_FILE = "qa_outputs.safetensors"
"""The QA head, which CTranslate2 does not compute: weight [2, D] and bias [2] in float32."""
CTRANSLATE2_KINDS = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")
PROTOBUF_LIMIT = 2_000_000_000
"""Bytes of the largest ONNX file that holds its own weights."""
_ONE_TRACE = threading.Lock()
"""One that Ctrl-C has left behind still has torch's patches of the whole process in place."""


def export_onnx(folder: Path, target: Path, with_qa_head: bool) -> None:
    """Writes `model.onnx` in float32, its weights beside it, with any number of windows and tokens.

    Raises:
        ModelError: the model cannot be loaded, has no QA head, or cannot be converted.
    """
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    _export(folder, target, with_qa_head, "ONNX", OnnxExporter, OnnxConfig)


def quantize_onnx(exported: Path, target: Path) -> None:
    """Writes `model_quantized.onnx`: weights of 8 bits, activations that are quantized as they come.

    Args:
        exported: a folder that `export_onnx` wrote; `target` may be the same.

    Raises:
        ModelError: it cannot be quantized.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = exported / ONNX_FILE
    size = onnx_bytes(file)
    with explained(exported, "model", "ONNX with 8 bits"), silent():
        heads = _narrow_products(onnx.load(str(file), load_external_data=False))
        quantize_dynamic(
            file,
            target / ONNX_INT8_FILE,
            # Not the embeddings, which get one scale for all words: that costs 0.8 F1 of the shipped model, and saves
            # no time.
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            # CPUs without VNNI add products of two 8-bit numbers in 16 bits, which overflow unless the weights have 7.
            reduce_range=True,
            nodes_to_exclude=heads,
            use_external_data_format=size >= PROTOBUF_LIMIT,
        )


def onnx_bytes(file: Path) -> int:
    """Bytes of an ONNX file, its weights beside it included."""
    return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))


def halve_onnx(exported: Path) -> Any:
    """The model, an `onnx.ModelProto`, with weights and activations in float16, inputs and outputs as they were.

    Args:
        exported: a folder that `export_onnx` wrote.

    Raises:
        ModelError: it cannot be converted.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with explained(exported, "model", "ONNX with 16 bits"), silent():
        # By its path: types within a model of more than 2 GB are found only in a file.
        return convert_float_to_float16(str(exported / ONNX_FILE), keep_io_types=True)


def export_openvino(folder: Path, target: Path, with_qa_head: bool) -> None:
    """Writes `openvino_model.xml` and `.bin` in float32, with any number of windows and tokens.

    Raises:
        ModelError: the model cannot be loaded, has no QA head, or cannot be converted.
    """
    from transformers.exporters.configs import OpenVINOConfig
    from transformers.exporters.exporter_openvino import OpenVINOExporter

    _export(folder, target, with_qa_head, "OpenVINO", OpenVINOExporter, OpenVINOConfig)


def convert_ctranslate2(folder: Path, target: Path, with_qa_head: bool, quantization: str) -> None:
    """Writes the encoder for CTranslate2, and its QA head, which CTranslate2 does not compute, beside it.

    Args:
        quantization: as CTranslate2 names it: float32, float16, int8, int8_float32, int8_float16.

    Raises:
        ModelError: CTranslate2 knows no such kind of model; or it cannot be loaded, or has no QA head.
    """
    from safetensors.numpy import save_file

    from actors.backends.pytorch.torch_weights import load_model
    from actors.model_config import load_config

    kind = load_config(folder).model_type
    if kind not in CTRANSLATE2_KINDS:
        raise ModelError(
            f"{folder} is a {kind}, which CTranslate2 cannot hold; it knows {', '.join(CTRANSLATE2_KINDS)}. "
            "Set model.backend to torch, onnxruntime or openvino"
        )
    head = None
    if with_qa_head:
        product: Any = load_model(folder, with_qa_head=True).qa_outputs
        head = {"weight": product.weight.detach().numpy(), "bias": product.bias.detach().numpy()}
    # Loaded once more: of BERT its converter wants the pooling layer, which a model with a QA head does without.
    encoder = load_model(folder, with_qa_head=False)
    with explained(folder, kind, "CTranslate2"), silent():
        # It wants to make the folder itself.
        _encoder_converter(folder, encoder).convert(str(target), quantization=quantization, force=True)
    if head is not None:
        save_file(head, target / HEAD_FILE)


def _export(folder: Path, target: Path, with_qa_head: bool, form: str, exporter: Any, config: Any) -> None:
    """By an exporter of transformers, and the class of its config."""
    model = _traceable(folder, with_qa_head)
    inputs, shapes = _sample(model)

    def trace() -> Any:
        with _ONE_TRACE, _without_log_lines():
            return exporter().export(model, inputs, config=config(dynamic_shapes=shapes))

    with explained(folder, model.config.model_type, form), silent():
        # The exception of Ctrl-C comes up in the main thread, and the process crashed where it went through a trace.
        # A trace that is left behind writes nothing: its files are the caller's to save.
        in_daemon_thread(trace).result().save_pretrained(target)


def _traceable(folder: Path, with_qa_head: bool) -> "PreTrainedModel":
    """The model in float32, made to give what the converted one gives."""
    from actors.backends.pytorch.torch_weights import load_model

    model: PreTrainedModel = load_model(folder, with_qa_head).train(False)
    states: list[Any] = []
    if with_qa_head:
        model.base_model.register_forward_hook(lambda module, inputs, output: states.append(output[0]))
    kind: Any = type(model)

    class Traced(kind):  # type: ignore[misc]
        def forward(self, **inputs: Any) -> dict[str, Any]:
            output = super().forward(**inputs)
            if not with_qa_head:
                return {HIDDEN: output[0]}
            return {START: output.start_logits, END: output.end_logits, HIDDEN: states.pop()}

    # The exporters look at the model's class and config, so that a module around it would be another model to them.
    model.__class__ = Traced
    return model


def _sample(model: "PreTrainedModel") -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs to trace a model with, two windows of which one is padded, and which of their dimensions vary."""
    import torch

    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 10:] = 0
    # Not the first ids: RoBERTa's kin take one of them for padding.
    inputs = {"input_ids": torch.full((2, 16), min(100, model.config.vocab_size - 1)), "attention_mask": mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.zeros(2, 16, dtype=torch.int64)
    vary = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    return inputs, dict.fromkeys(inputs, vary)


def _narrow_products(graph: Any) -> list[str]:
    """Names of products with two columns or fewer, such as a QA head: they cost nothing and decide the answers."""
    shapes = {weights.name: tuple(weights.dims) for weights in graph.graph.initializer}
    return [
        node.name
        for node in graph.graph.node
        if node.op_type in ("MatMul", "Gemm") and min(shapes.get(node.input[1]) or (3,)) <= 2
    ]


def _encoder_converter(folder: Path, encoder: "PreTrainedModel") -> Any:
    """CTranslate2's converter, for a model that is loaded already: its own reads float16 where the folder says so."""
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):  # type: ignore[misc]
        def load_model(self, model_class: Any, name: str, **kwargs: Any) -> Any:
            if encoder.config.model_type == "xlm-roberta":
                # Of this one it expects a classifier round the encoder.
                return SimpleNamespace(config=encoder.config, roberta=encoder)
            return encoder

        def load_tokenizer(self, tokenizer_class: Any, name: str, **kwargs: Any) -> Any:
            tokenizer = super().load_tokenizer(tokenizer_class, name, **kwargs)
            tokenizer.get_vocab = partial(_padded_vocabulary, tokenizer.get_vocab(), encoder.config.vocab_size)
            return tokenizer

    return Converter(str(folder))


def _padded_vocabulary(vocabulary: dict[str, int], size: int) -> dict[str, int]:
    """A token for every embedding: many models have more of these than their tokenizer has tokens."""
    known = set(vocabulary.values())
    return vocabulary | {f"<without a token: {number}>": number for number in range(size) if number not in known}


@contextlib.contextmanager
def explained(folder: Path, kind: str, form: str) -> Iterator[None]:
    """A ModelError for whatever the converting packages raise; what the disk says passes through."""
    try:
        yield
    except (OSError, ModelError):
        raise
    except Exception as error:  # each of them raises its own kinds
        raise ModelError(
            f"{folder}: this {kind} cannot be converted to {form}: {first_line(error)}; take torch "
            "(model.backend), or leave this form out of an export"
        ) from error


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without the many lines that exporters print, log and warn; other threads log on, and errors are logged."""
    with _without_log_lines(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _without_log_lines() -> Iterator[None]:
    """Without those of this thread, unless they are errors."""
    thread = threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or record.thread != thread

    # Where there is no handler at all, a warning to the root makes one.
    nowhere = logging.NullHandler()
    logging.getLogger().addHandler(nowhere)
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.Logger.manager.loggerDict))]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    for handler in handlers:
        handler.addFilter(passes)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(passes)
        logging.getLogger().removeHandler(nowhere)
