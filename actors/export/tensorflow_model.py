"""Writes and computes SavedModels: a program for an interpreter that has tensorflow. It imports nothing of Spanmill.

`write ARCHITECTURE FOLDER TARGET` makes a SavedModel of FOLDER's model.safetensors; ARCHITECTURE is JSON, the fields of
`Architecture`. `serve TARGET THREADS` answers on stdout what comes on stdin, with THREADS threads, 0 for TensorFlow's
choice. A message is 8 bytes of length (little endian), then an npz: the inputs, and the names of the `outputs` that are
asked for, one way; these outputs the other way.

The functions are those of transformers' BertModel, RobertaModel and DistilBertModel, in evaluation and float32.
"""

import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

IN_DISTILBERT = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
"""Parts as BERT and RoBERTa name them, and as DistilBERT does."""
# By the names of transformers' ACT2FN.
ACTIVATIONS = {
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "tanh": tf.tanh,
}


@dataclass(frozen=True)
class Architecture:
    """What the shapes of the weights do not say."""

    model_type: str
    """distilbert, bert or roberta."""
    layers: int
    heads: int
    epsilon: float
    """Of layer norms."""
    activation: str
    """One of ACTIVATIONS."""
    padding: int | None
    """The id of padding where positions are counted from behind it, as RoBERTa does; None where they begin at 0."""
    has_types: bool
    """Whether `token_type_ids` are an input; else all types are 0."""


class Encoder:
    """The encoder, and the QA head where there is one, over weights by transformers' names."""

    def __init__(self, architecture: Architecture, weights: dict[str, Any]) -> None:
        """Takes weights as float32 arrays."""
        self.architecture = architecture
        self.weights = {
            name: tf.Variable(value, trainable=False, name=name.replace(".", "_")) for name, value in weights.items()
        }
        kind = architecture.model_type
        # A model without a QA head has its parts at the top.
        self._prefix = f"{kind}." if any(name.startswith(f"{kind}.") for name in weights) else ""

    def outputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """[n, S] integers by their names to [n, S] float32 logits and [n, S, D] last hidden states."""
        hidden = self._embed(inputs["input_ids"], inputs.get("token_type_ids"))
        # Padding is never attended to.
        mask = tf.not_equal(inputs["attention_mask"], 0)[:, None, None, :]
        for number in range(self.architecture.layers):
            hidden = self._layer(hidden, mask, number)
        found = {"last_hidden_state": hidden}
        if "qa_outputs.weight" in self.weights:
            logits = self._linear(hidden, "qa_outputs")
            found |= {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        return found

    def _embed(self, ids: Any, types: Any) -> Any:
        positions = tf.range(tf.shape(ids)[1])[None]
        if (padding := self.architecture.padding) is not None:
            real = tf.cast(tf.not_equal(ids, padding), tf.int32)
            positions = tf.cumsum(real, axis=1) * real + padding
        hidden = tf.gather(self._table("word"), ids) + tf.gather(self._table("position"), positions)
        if self.architecture.model_type != "distilbert":
            hidden += tf.gather(self._table("token_type"), tf.zeros_like(ids) if types is None else types)
        return self._norm(hidden, f"{self._prefix}embeddings.LayerNorm")

    def _table(self, name: str) -> Any:
        return self.weights[f"{self._prefix}embeddings.{name}_embeddings.weight"]

    def _layer(self, hidden: Any, mask: Any, number: int) -> Any:
        mixed = self._linear(self._attend(hidden, mask, number), self._part(number, "attention.output.dense"))
        hidden = self._norm(hidden + mixed, self._part(number, "attention.output.LayerNorm"))
        inner = self._linear(hidden, self._part(number, "intermediate.dense"))
        inner = ACTIVATIONS[self.architecture.activation](inner)
        outer = self._linear(inner, self._part(number, "output.dense"))
        return self._norm(hidden + outer, self._part(number, "output.LayerNorm"))

    def _attend(self, hidden: Any, mask: Any, number: int) -> Any:
        """The values of all tokens, weighted by each token's attention, head by head."""
        shape, heads = tf.shape(hidden), self.architecture.heads
        size = hidden.shape[-1] // heads

        def split(name: str) -> Any:
            """[n, H, S, D / H]"""
            of_heads = tf.reshape(self._linear(hidden, self._part(number, name)), [shape[0], shape[1], heads, size])
            return tf.transpose(of_heads, [0, 2, 1, 3])

        query, key, value = (split(f"attention.self.{name}") for name in ("query", "key", "value"))
        scores = tf.matmul(query, key, transpose_b=True) / float(size) ** 0.5
        attention = tf.nn.softmax(tf.where(mask, scores, tf.float32.min))
        return tf.reshape(tf.transpose(tf.matmul(attention, value), [0, 2, 1, 3]), shape)

    def _part(self, number: int, name: str) -> str:
        names = IN_DISTILBERT if self.architecture.model_type == "distilbert" else {}
        layer = names.get("encoder.layer", "encoder.layer")
        return f"{self._prefix}{layer}.{number}.{names.get(name, name)}"

    def _linear(self, x: Any, name: str) -> Any:
        return tf.matmul(x, self.weights[f"{name}.weight"], transpose_b=True) + self.weights[f"{name}.bias"]

    def _norm(self, x: Any, name: str) -> Any:
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        scaled = (x - mean) * tf.math.rsqrt(variance + self.architecture.epsilon)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def write(architecture: Architecture, folder: Path, target: Path) -> None:
    """Writes a SavedModel with the signatures that transformers 4 gave its own, for ids of 32 bits and of 64."""
    encoder = Encoder(architecture, load_file(folder / "model.safetensors"))
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if architecture.has_types else [])]
    compute = tf.function(encoder.outputs)

    # The model is traced once, and the signatures share it.
    def casting(**inputs: Any) -> Any:
        return compute({name: tf.cast(inputs[name], tf.int64) for name in names})

    signature = tf.function(casting)
    module = tf.Module()
    module.weights = list(encoder.weights.values())
    signatures = {
        label: signature.get_concrete_function(**{name: tf.TensorSpec([None, None], kind, name) for name in names})
        for label, kind in (("serving_default", tf.int32), ("int64_serving", tf.int64))
    }
    tf.saved_model.save(module, str(target), signatures=signatures)


def serve(target: Path, threads: int, answers: IO[bytes]) -> None:
    """Answers until stdin ends."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = tf.saved_model.load(str(target))
    compute = model.signatures["int64_serving"]
    while len(head := sys.stdin.buffer.read(8)) == 8:
        question = sys.stdin.buffer.read(int.from_bytes(head, "little"))
        with np.load(io.BytesIO(question), allow_pickle=False) as given:
            asked = given["outputs"].tolist()
            found = compute(**{name: tf.constant(given[name]) for name in given if name != "outputs"})
        answer = io.BytesIO()
        np.savez(answer, **{name: found[name].numpy() for name in asked})
        answers.write(len(answer.getvalue()).to_bytes(8, "little") + answer.getvalue())
        answers.flush()


def main() -> None:
    """See the module."""
    task, *words = sys.argv[1:]
    if task == "write":
        write(Architecture(**json.loads(words[0])), Path(words[1]), Path(words[2]))
        return
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    serve(Path(words[0]), int(words[1]), answers)


if __name__ == "__main__":
    main()
