"""What the routes of the protocols share: the JSON of replies, and the examples of the OpenAPI document."""

from typing import Any

import orjson
from fastapi import Path, Response

from actors.serving.types import Reply


def as_json(content: object) -> Response:
    """A JSON response; NumPy arrays become lists without a Python object for each number."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def usage_and_times(reply: Reply, model: str) -> dict[str, object]:
    """What the replies of Spanmill's own protocol end with."""
    timing = reply.timing
    return {
        "model": model,
        "usage": {"tokens": sum(reply.tokens)},
        "timing_ms": {
            "tokenise": round(timing.tokenise, 2),
            "queue": round(timing.queue, 2),
            "inference": round(timing.inference, 2),
        },
    }


def served_model(name: str) -> Any:
    """The path parameter that names the model, with the served one as its example."""
    # Swagger UI fills in the second kind, other readers of the document know the first.
    return Path(examples=[name], openapi_examples={"the served model": {"value": name}})


def example(content: object) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route, with this JSON as the example of a success."""
    return {200: {"content": {"application/json": {"example": content}}}}
