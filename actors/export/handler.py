"""The handler of a bundle: what Inference Endpoints of Hugging Face call, one request after the other.

`spanmill bundle` copies this module and all that it imports to where there is neither Spanmill nor Ray nor FastAPI, so
none of them may be imported here, nor by what is.
"""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from actors.export.endpoint_settings import read_settings
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, ModelParameters
from actors.serving.gateway.checks import check_dimensions, check_inputs
from actors.serving.gateway.protocols.huggingface_tasks import Asked, Inputs, asked
from actors.serving.invalid import invalid
from actors.serving.parameters import LimitParameters
from actors.serving.replica.codec import decode, encode, wanted_by
from actors.serving.types import Refused, Reply, Request, Timing

_BODY: TypeAdapter[Inputs] = TypeAdapter(Inputs)
_UNTIMED = Timing(tokenise=0.0, queue=0.0, inference=0.0)
_TRIAL = "Does the model run?"


class EndpointHandler:
    """One copy of the model, with the interface of "Create custom Inference Handler" in Hugging Face's documentation.

    The message of whatever is raised is what the client reads: huggingface-inference-toolkit puts it into a reply with
    status 400.
    """

    def __init__(self, path: str = "") -> None:
        """Loads the model of a bundle, and tries it: an endpoint is healthy once its handler is there.

        Args:
            path: the folder of the bundle.

        Raises:
            ModelError: it is no bundle, or its model cannot be used.
            DeviceLost: the device does not take it.
        """
        folder = Path(path)
        self._settings = read_settings(folder)
        self._answers = self._settings.task == "question-answering"
        self._limits = LimitParameters(max_inputs=self._settings.max_inputs)
        model = ModelParameters(name=str(folder), precision=self._settings.precision)
        self._engine = load_engine(folder, model, BatchingParameters(), with_qa_head=self._answers)
        self({"inputs": {"question": _TRIAL, "context": _TRIAL} if self._answers else _TRIAL})

    def __call__(self, data: object) -> object:
        """Answers questions, embeds texts, or compares sentences: what `inputs` holds decides.

        The rows of one request are computed together.

        Args:
            data: the JSON of a request, as `huggingface_hub.InferenceClient` sends it: `inputs`, and `parameters`, or
                for embeddings the parameters beside `inputs`.

        Returns:
            JSON. Of a pair of question and context an object with answer, score, start and end; of a text a list of
            numbers; of a list of either, or with `top_k` beyond 1, a list of these.

        Raises:
            Refused: the request cannot be answered; the message names the field, or the row of `inputs`.
            ModelError: a parameter does not fit the model.
            NoRoom: a window that fitted before has no room on the device now.
            DeviceLost: the device computes nothing any more.
        """
        try:
            body = _BODY.validate_python(data)
        except ValidationError as error:
            raise Refused(invalid([(e["loc"], e) for e in error.errors()])) from error
        wanted = asked(body, self._settings.qa, self._settings.embedding)
        content = wanted.content(self._computed(wanted))
        return content.tolist() if isinstance(content, np.ndarray) else content

    def _computed(self, wanted: Asked) -> Reply:
        if wanted.task == "answer" and not self._answers:
            raise Refused.of_field(
                "inputs",
                "a question and its context, but this endpoint only embeds; send a text or a list of texts, or have "
                "a model with a QA head bundled with --task question-answering",
            )
        if wanted.dimensions is not None:
            check_dimensions(wanted.dimensions, self._engine.hidden_size, "this model", reason="unsupported")
        request = Request(
            id="",
            task=wanted.task,
            texts=tuple(wanted.texts),
            questions=tuple(wanted.questions),
            qa=wanted.qa or self._settings.qa,
            embedding=wanted.embedding or self._settings.embedding,
            long_texts=wanted.long_texts,
        )
        check_inputs(request, self._limits)
        task = self._engine.begin(encode(self._engine.spec, request, self._limits), wanted_by(request))
        return decode(self._engine.finish(task), task, _UNTIMED, request)
