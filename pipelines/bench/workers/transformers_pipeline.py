"""transformers' QuestionAnsweringPipeline, which is in transformers up to 4.57, in float32."""

from typing import Any

import torch
from transformers import pipeline
from transformers.utils import logging

# Named by hand: transformers 5, with which types are checked, has no such pipeline.
_pipeline: Any = pipeline


class Pipeline:
    """`setting` names `windows`, the batch size."""

    packages = ("torch", "transformers")
    precision = "float32"

    def __init__(self, setup: dict[str, Any]) -> None:
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        torch.set_num_threads(setup["threads"])
        folder = setup["model"]
        # It has to be told: it takes weights in the precision that they are kept in.
        self._pipeline: Any = _pipeline(
            "question-answering", model=folder, tokenizer=folder, device=setup["device"], torch_dtype=torch.float32
        )
        self._parameters = setup["qa"]

    def answer(self, questions: list[str], contexts: list[str], setting: dict[str, Any]) -> list[Any]:
        """Start and end of each row's answer."""
        found = self._pipeline(question=questions, context=contexts, batch_size=setting["windows"], **self._parameters)
        return [[answer["start"], answer["end"]] for answer in (found if isinstance(found, list) else [found])]


def load(setup: dict[str, Any]) -> Pipeline:
    """The pipeline over a model folder."""
    return Pipeline(setup)
