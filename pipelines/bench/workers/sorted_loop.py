"""What a good engineer writes by hand: tokenise everything, sort by length, fixed batches, the best span of each.

Over CTranslate2 or ONNX Runtime, with a model that is converted when it is loaded. The ONNX file is made as Spanmill
makes its own: what differs is what is done with it. `setting` names `windows`, the batch size.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

Forward = Callable[[dict[str, Any]], Any]
"""Inputs by their names, [n, S] int64 each, become [n, S, D] hidden states, or [n, S, 2] logits for answers."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class SortedLoop:
    """Windows with the overlap that is asked for, shortest first, padded to the longest of a batch."""

    def __init__(self, setup: dict[str, Any]) -> None:
        folder, runtime = Path(setup["model"]), setup["runtime"]
        self.precision: str = setup["precision"]
        self.packages = (runtime, "tokenizers")
        self._qa, self._embedding, self._task = setup["qa"], setup["embedding"], setup["task"]
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        open_runtime = {"ctranslate2": _ctranslate2, "onnxruntime": _onnxruntime}[runtime]
        with tempfile.TemporaryDirectory(prefix="spanmill-bench-") as converted:
            self._forward = open_runtime(folder, Path(converted), setup)

    def answer(self, questions: list[str], contexts: list[str], setting: dict[str, Any]) -> list[Any]:
        """Start and end of each row's answer."""
        limits = self._qa
        self._tokenizer.enable_truncation(limits["max_seq_len"], stride=limits["doc_stride"], strategy="only_second")
        encoded = self._tokenizer.encode_batch(list(zip(questions, contexts, strict=True)))
        windows = [window for row in encoded for window in (row, *row.overflowing)]
        row_of = [number for number, row in enumerate(encoded) for _ in (row, *row.overflowing)]
        best: list[Any] = [None] * len(questions)
        scores = np.full(len(questions), -np.inf)
        for chosen, logits in self._batches(windows, setting["windows"]):
            for number, values in zip(chosen, logits, strict=True):
                window = windows[number]
                score, first, last = _best_span(values, window, limits["max_answer_len"])
                if score > scores[row_of[number]]:
                    scores[row_of[number]] = score
                    best[row_of[number]] = [_word(window, first)[0], _word(window, last)[1]]
        return best

    def embed(self, texts: list[str], setting: dict[str, Any]) -> Any:
        """The mean of the last hidden states, cut at the window length, of length 1: [R, D]."""
        self._tokenizer.enable_truncation(self._embedding["max_seq_len"])
        windows = self._tokenizer.encode_batch(texts)
        vectors: list[Any] = [None] * len(texts)
        for chosen, hidden in self._batches(windows, setting["windows"]):
            for number, states in zip(chosen, hidden, strict=True):
                mean = states[: len(windows[number].ids)].mean(axis=0)
                vectors[number] = mean / np.linalg.norm(mean)
        return np.stack(vectors)

    def _batches(self, windows: list[Any], size: int) -> Any:
        order = np.argsort([len(window.ids) for window in windows], kind="stable").tolist()
        for first in range(0, len(order), size):
            chosen = order[first : first + size]
            width = max(len(windows[number].ids) for number in chosen)
            inputs = np.zeros((len(_INPUTS), len(chosen), width), dtype=np.int64)
            for row, number in enumerate(chosen):
                window = windows[number]
                inputs[:, row, : len(window.ids)] = window.ids, window.attention_mask, window.type_ids
            yield chosen, self._forward(dict(zip(_INPUTS, inputs, strict=True)))


def _best_span(logits: Any, window: Any, longest: int) -> tuple[float, int, int]:
    """Probability, first and last token of the best span of a window's passage."""
    inside = np.flatnonzero(np.array(window.sequence_ids, dtype=float) == 1)
    # As the pipeline has it, every token of the window counts for the probabilities, but those of the question.
    counted = [i for i, part in enumerate(window.sequence_ids) if part == 1 or i == 0]
    start, end = (
        np.exp(values - values[counted].max()) / np.exp(values[counted] - values[counted].max()).sum()
        for values in logits[: len(window.ids)].T
    )
    scores = np.triu(np.outer(start[inside], end[inside]))
    scores = scores - np.triu(scores, longest)
    first, last = np.unravel_index(int(scores.argmax()), scores.shape)
    return float(scores[first, last]), int(inside[first]), int(inside[last])


def _word(window: Any, token: int) -> tuple[int, int]:
    """Start and end of the word that a token of the passage is in."""
    words, sides = window.word_ids, window.sequence_ids
    same = [i for i, word in enumerate(words) if sides[i] == 1 and word == words[token]]
    return window.offsets[same[0]][0], window.offsets[same[-1]][1]


def _ctranslate2(folder: Path, converted: Path, setup: dict[str, Any]) -> Forward:
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(converted / "model"))
    encoder = ctranslate2.Encoder(
        str(converted / "model"), compute_type=setup["precision"], intra_threads=setup["threads"], inter_threads=1
    )
    head = _span_head(folder) if setup["task"] == "answer" else None
    has_types = json.loads((folder / "config.json").read_bytes()).get("type_vocab_size", 0) > 1

    def forward(inputs: dict[str, Any]) -> Any:
        given = ctranslate2.StorageView.from_array(inputs["input_ids"].astype(np.int32))
        lengths = ctranslate2.StorageView.from_array(inputs["attention_mask"].sum(axis=1).astype(np.int32))
        types = inputs["token_type_ids"].tolist() if has_types else None
        hidden = np.array(encoder.forward_batch(given, lengths, types).last_hidden_state)
        return hidden if head is None else hidden @ head[0].T + head[1]

    return forward


def _span_head(folder: Path) -> tuple[Any, Any]:
    from safetensors.numpy import load_file

    weights = load_file(folder / "model.safetensors")
    return weights["qa_outputs.weight"].astype(np.float32), weights["qa_outputs.bias"].astype(np.float32)


def _onnxruntime(folder: Path, converted: Path, setup: dict[str, Any]) -> Forward:
    import onnxruntime

    from actors.backends.converted.conversion import END, HIDDEN, ONNX_FILE, START, export_onnx

    answers = setup["task"] == "answer"
    export_onnx(folder, converted, with_qa_head=answers)
    path = converted / ONNX_FILE
    if setup["precision"] == "int8":
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(path, converted / "int8.onnx")
        path = converted / "int8.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup["threads"]
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def forward(inputs: dict[str, Any]) -> Any:
        found = session.run([START, END] if answers else [HIDDEN], {name: inputs[name] for name in names})
        return np.stack(found, axis=-1) if answers else found[0]

    return forward


def load(setup: dict[str, Any]) -> SortedLoop:
    """The loop over a model folder, which is converted first."""
    return SortedLoop(setup)
