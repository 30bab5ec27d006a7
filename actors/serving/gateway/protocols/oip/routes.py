"""The Open Inference Protocol, version 2, over REST: what KServe, Triton and MLServer speak."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, ConfigDict
from pydantic_core import PydanticCustomError

from actors.serving.gateway.checks import with_parameters
from actors.serving.gateway.context import Context
from actors.serving.gateway.protocols.base import ProtocolRoutes
from actors.serving.gateway.protocols.bodies.replies import as_json, example, served_model
from actors.serving.gateway.protocols.bodies.schema import Body, Many, PipelineParameters
from actors.serving.gateway.protocols.oip import binary, tensors
from actors.serving.gateway.protocols.oip.binary import binary_tensor_route
from actors.serving.gateway.protocols.oip.tensors import ANSWERS, EMBEDDINGS, InputTensor, OutputTensor
from actors.serving.gateway.submit import ask
from actors.serving.types import Refused
from actors.version import release

_REQUEST: dict[str, Any] = {
    "id": "42",
    "inputs": [
        {"name": "question", "shape": [1], "datatype": "BYTES", "data": ["Where was Ada Lovelace born?"]},
        {"name": "context", "shape": [1], "datatype": "BYTES", "data": ["Ada Lovelace was born in London in 1815."]},
    ],
    "outputs": [{"name": "answer"}, {"name": "score"}],
}
_REPLY = {
    "id": "42",
    "outputs": [
        {"name": "answer", "shape": [1], "datatype": "BYTES", "data": ["London"]},
        {"name": "score", "shape": [1], "datatype": "FP64", "data": [0.97]},
    ],
}
_EXTENSIONS = ["binary_tensor_data"]


def _unicode(value: str | None) -> str | None:
    # JSON can escape half of a surrogate pair, which no reply can hold.
    if value is not None and not value.isascii() and value.encode(errors="replace").decode() != value:
        raise PydanticCustomError("unicode", "half of a surrogate pair is no text; send valid Unicode")
    return value


def _only_the_best(top_k: int | None) -> int | None:
    if top_k not in (None, 1):
        raise PydanticCustomError("top_k", "tensors hold the best answer alone; /answer gives several")
    return top_k


class InferenceParameters(PipelineParameters):
    """How to answer or to embed. What is left out or null is the service's default."""

    top_k: Annotated[int | None, AfterValidator(_only_the_best)] = None
    """Only 1."""
    normalize: bool | None = None
    """Scale every embedding to length 1."""
    binary_data_output: bool | None = None
    """Whether outputs come as bytes behind the JSON, where an output does not say it itself."""


class Inference(Body):
    """`question` and `context` of n rows to answer, or `text` of n rows to embed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REQUEST]})

    id: Annotated[str | None, AfterValidator(_unicode)] = None
    """Comes back in the reply."""
    parameters: InferenceParameters = InferenceParameters()
    inputs: Many[InputTensor]
    outputs: Many[OutputTensor] | None = None
    """Those that are wanted; null gives all of them."""


def routes(context: Context) -> ProtocolRoutes:
    """Health, metadata and inference below `/v2`. There are no versions of a model."""
    # Triton's client does not say what it sends.
    route = binary_tensor_route(context.limits.max_inputs)
    router = APIRouter(prefix="/v2", strict_content_type=False, route_class=route)

    @router.get("", responses=example({"name": "spanmill", "version": "0.1.0", "extensions": _EXTENSIONS}))
    async def server() -> dict[str, object]:
        """What answers here."""
        return {"name": "spanmill", "version": release(), "extensions": _EXTENSIONS}

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """The process lives. Says nothing of the model."""
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> dict[str, bool]:
        """A forward pass of the model just succeeded."""
        await context.ready()
        return {"ready": True}

    @router.get("/models/{model:path}/ready")
    async def model_ready(model: Annotated[str, served_model(context.model)]) -> dict[str, object]:
        """A forward pass of the model just succeeded."""
        chosen = context.named(model)
        await chosen.client.ready()
        return {"name": chosen.model, "ready": True}

    @router.get("/models/{model:path}")
    async def metadata(model: Annotated[str, served_model(context.model)]) -> dict[str, object]:
        """The tensors that the model takes, `question` and `context` or `text`, and gives."""
        chosen = context.named(model)
        return tensors.metadata(await chosen.client.card(), chosen.model)

    @router.post("/models/{model:path}/infer", responses=example({"model_name": context.model} | _REPLY))
    async def infer(model: Annotated[str, served_model(context.model)], body: Inference, http: Request) -> Response:
        """Answers questions from passages (the best answer of each), or embeds texts.

        `start` and `end` count code points of the context. Where the model abstains, `answer` is empty, and they are
        -1. `null_score` is how probable it is that the context holds no answer. Tensors may travel as bytes behind the
        JSON, in either direction: the binary tensor extension.
        """
        chosen = context.named(model)
        columns = tensors.columns(body.inputs)
        given = body.parameters.model_dump(exclude_none=True, exclude={"binary_data_output"})
        if "text" in columns:
            tensors.check_outputs(body.outputs, EMBEDDINGS)
            _check_parameters(given, {"normalize"}, "embeds")
            embedding = chosen.embedding.model_copy(update=given)
            outputs = tensors.embedded(await ask(chosen, http, "embed", columns["text"], embedding=embedding))
        else:
            tensors.check_outputs(body.outputs, ANSWERS)
            _check_parameters(given, set(PipelineParameters.model_fields), "answers")
            qa = with_parameters(chosen.qa, **given | {"top_k": 1})
            reply = await ask(chosen, http, "answer", columns["context"], columns["question"], qa=qa)
            outputs = tensors.answered(reply)
        return _response(body, chosen.model, outputs)

    if context.others:

        @router.post("/repository/index", include_in_schema=False)
        async def index() -> list[dict[str, str]]:
            """The models, as Triton's model repository lists them."""
            return await asyncio.gather(*(_state(one) for one in (context, *context.others)))

    return ProtocolRoutes("Open Inference Protocol", router, lambda refusal: {"error": refusal.message})


async def _state(context: Context) -> dict[str, str]:
    try:
        await context.client.ready()
    except Refused as refused:
        return {"name": context.model, "state": "UNAVAILABLE", "reason": refused.refusal.message}
    return {"name": context.model, "state": "READY"}


def _check_parameters(given: dict[str, object], known: set[str], does: str) -> None:
    for name in given:
        if name not in known:
            raise Refused.of_field(f"parameters.{name}", f"a request that {does} has no such parameter; leave it out")


def _response(body: Inference, model: str, outputs: list[dict[str, object]]) -> Response:
    said = {output.name: output.parameters and output.parameters.binary_data for output in body.outputs or ()}
    given = {str(output["name"]): output for output in outputs if not said or output["name"] in said}
    by_default = bool(body.parameters.binary_data_output)
    as_bytes = {name for name in given if (by_default if said.get(name) is None else said[name])}
    content: dict[str, object] = {"model_name": model}
    if body.id is not None:
        content["id"] = body.id
    content["outputs"] = list(given.values())
    return binary.response(content, as_bytes) if as_bytes else as_json(content)
