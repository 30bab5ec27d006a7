"""transformers' QuestionAnsweringPipeline and sentence-transformers' encode, in an environment that has them.

    PYTHON -I benchmarks/offline/peer_worker.py MODEL THREADS MAX_LENGTH

It stands alone: another environment runs it, so nothing of this project is imported. It loads once, says that it is
ready, and then does what each line on its standard input asks, a JSON object: `do` names the call, all else are its
arguments. Each line on its standard output is the answer.
"""

import importlib
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

Answer = dict[str, Any]


def serve(calls: Mapping[str, Callable[..., Answer]], versions: Mapping[str, str]) -> None:
    """Says that it is ready, with the names of the calls, and answers line after line until the input ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        # Whatever else prints must not come between the answers.
        os.dup2(2, 1)
        _say(answers, {"calls": list(calls), "versions": dict(versions)})
        for line in sys.stdin:
            request = json.loads(line)
            _say(answers, calls[request.pop("do")](**request))


def _say(answers: Any, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


class Pipeline:
    """transformers' pipeline in float32. It has to be told: it takes weights in the precision that they are kept in."""

    def __init__(self, folder: str) -> None:
        torch, transformers = map(importlib.import_module, ("torch", "transformers"))
        self._pipeline = transformers.pipeline(
            "question-answering", model=folder, tokenizer=folder, device="cpu", torch_dtype=torch.float32
        )

    def answer(self, corpus: str, windows: int, parameters: Mapping[str, Any]) -> Answer:
        """Answers the rows of a Parquet file, so many windows a batch; `spans` are start and end of each row's answer.

        Reading the file is not counted.
        """
        questions, contexts = _columns(corpus, "question", "context")
        started = time.perf_counter()
        found = self._pipeline(question=questions, context=contexts, batch_size=windows, **parameters)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "spans": [[answer["start"], answer["end"]] for answer in found]}


class Encoder:
    """sentence-transformers' mean of the last hidden states, in float32."""

    def __init__(self, folder: str, max_length: int) -> None:
        package, parts = map(importlib.import_module, ("sentence_transformers", "sentence_transformers.models"))
        transformer = parts.Transformer(folder, max_seq_length=max_length)
        width = transformer.auto_model.config.hidden_size
        self._model = package.SentenceTransformer(modules=[transformer, parts.Pooling(width, "mean")], device="cpu")
        self._model.float()

    def encode(self, corpus: str, windows: int, vectors: str) -> Answer:
        """Embeds the texts of a Parquet file, so many a batch, and writes the vectors, [R, D], to a file of numpy.

        Neither reading nor writing is counted.
        """
        (texts,) = _columns(corpus, "text")
        started = time.perf_counter()
        found = self._model.encode(texts, batch_size=windows, normalize_embeddings=True, show_progress_bar=False)
        seconds = time.perf_counter() - started
        importlib.import_module("numpy").save(vectors, found)
        return {"seconds": seconds}


def _columns(corpus: str, *names: str) -> list[list[str]]:
    table = importlib.import_module("pyarrow.parquet").read_table(corpus)
    return [table[name].to_pylist() for name in names]


def _versions(names: list[str]) -> dict[str, str]:
    return {name: importlib.import_module(name).__version__ for name in names}


def main(folder: str, threads: str, max_length: str) -> None:
    """Loads what is there, and serves it."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    warnings.simplefilter("ignore")
    importlib.import_module("torch").set_num_threads(int(threads))
    packages = ["torch", "transformers"]
    calls: dict[str, Callable[..., Answer]] = {"answer": Pipeline(folder).answer}
    if importlib.util.find_spec("sentence_transformers"):
        packages.append("sentence_transformers")
        calls["encode"] = Encoder(folder, int(max_length)).encode
    serve(calls, _versions(packages))


if __name__ == "__main__":
    main(*sys.argv[1:])
