"""Run by path with an interpreter that has tensorflow; imports nothing of Spanmill.

`write FOLDER TARGET` makes a SavedModel of FOLDER's config.json and weights.safetensors (float32); `serve TARGET` answers
on stdout what comes on stdin: 8 bytes of length (little endian), then an npz; length 0 after an error.
"""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np

DISTILBERT = {
    "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads", "hidden_act": "activation",
    "encoder.layer": "transformer.layer", "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin", "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin", "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1", "output.dense": "ffn.lin2", "output.LayerNorm": "output_layer_norm",
}  # fmt: skip


def make_module(folder):
    import tensorflow as tf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_bytes())
    kind, tensors = config["model_type"], load_file(folder / "weights.safetensors")
    of = DISTILBERT.get if kind == "distilbert" else (lambda name, other: name)
    prefix = f"{kind}." if any(name.startswith(f"{kind}.") for name in tensors) else ""
    heads, epsilon = config[of("num_attention_heads", "")], config.get("layer_norm_eps", 1e-12)
    act = {
        "gelu": lambda x: tf.nn.gelu(x, approximate=False),
        "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
        "gelu_pytorch_tanh": lambda x: tf.nn.gelu(x, approximate=True),
        "relu": tf.nn.relu, "silu": tf.nn.silu, "tanh": tf.tanh,
    }[config.get(of("hidden_act", ""), "gelu")]  # fmt: skip
    module = tf.Module()
    weights = {n: tf.Variable(v, trainable=False, name=n.replace(".", "_")) for n, v in tensors.items()}
    module.weights = list(weights.values())

    def linear(x, name):
        return tf.matmul(x, weights[name + ".weight"], transpose_b=True) + weights[name + ".bias"]

    def norm(x, name):
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + epsilon) * weights[name + ".weight"] + weights[name + ".bias"]

    def layer(x, mask, number):
        def part(name):
            return f"{prefix}{of('encoder.layer', 'encoder.layer')}.{number}.{of(name, name)}"

        shape = tf.shape(x)
        size = x.shape[-1] // heads

        def split(name):
            y = tf.reshape(linear(x, part("attention.self." + name)), [shape[0], shape[1], heads, size])
            return tf.transpose(y, [0, 2, 1, 3])

        scores = tf.matmul(split("query"), split("key"), transpose_b=True) / float(size) ** 0.5
        shares = tf.nn.softmax(tf.where(mask, scores, tf.float32.min))
        mixed = tf.reshape(tf.transpose(tf.matmul(shares, split("value")), [0, 2, 1, 3]), shape)
        x = norm(x + linear(mixed, part("attention.output.dense")), part("attention.output.LayerNorm"))
        inner = act(linear(x, part("intermediate.dense")))
        return norm(x + linear(inner, part("output.dense")), part("output.LayerNorm"))

    def run(input_ids, attention_mask, token_type_ids=None):
        def table(name):
            return weights[f"{prefix}embeddings.{name}_embeddings.weight"]

        positions = tf.range(tf.shape(input_ids)[1])[None]
        if kind == "roberta":
            pad = config.get("pad_token_id", 1)
            real = tf.cast(tf.not_equal(input_ids, pad), tf.int32)
            positions = tf.cumsum(real, axis=1) * real + pad
        x = tf.gather(table("word"), input_ids) + tf.gather(table("position"), positions)
        if kind != "distilbert":
            types = tf.zeros_like(input_ids) if token_type_ids is None else token_type_ids
            x += tf.gather(table("token_type"), types)
        x = norm(x, prefix + "embeddings.LayerNorm")
        mask = tf.not_equal(attention_mask, 0)[:, None, None, :]
        for number in range(config[of("num_hidden_layers", "")]):
            x = layer(x, mask, number)
        found = {"last_hidden_state": x}
        if "qa_outputs.weight" in weights:
            logits = linear(x, "qa_outputs")
            found |= {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        return found

    names = ["input_ids", "attention_mask"]
    if kind != "distilbert" and config.get("type_vocab_size", 0) > 1:
        names.append("token_type_ids")
    specs = {name: tf.TensorSpec([None, None], tf.int64, name=name) for name in names}
    module.run = tf.function(run)
    return module, module.run.get_concrete_function(**specs)


def serve(target, output):
    import tensorflow as tf

    model = tf.saved_model.load(str(target))
    call = model.signatures["serving_default"]
    while len(head := sys.stdin.buffer.read(8)) == 8:
        with np.load(io.BytesIO(sys.stdin.buffer.read(int.from_bytes(head, "little"))), allow_pickle=False) as given:
            found = call(**{name: tf.constant(given[name]) for name in given})
        answer = io.BytesIO()
        np.savez(answer, **{name: value.numpy() for name, value in found.items()})
        output.write(len(answer.getvalue()).to_bytes(8, "little") + answer.getvalue())
        output.flush()


def main():
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what tensorflow prints is no answer
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if sys.argv[1] == "write":
        import tensorflow as tf

        module, call = make_module(Path(sys.argv[2]))
        tf.saved_model.save(module, sys.argv[3], signatures={"serving_default": call})
    else:
        serve(Path(sys.argv[2]), output)


if __name__ == "__main__":
    main()
