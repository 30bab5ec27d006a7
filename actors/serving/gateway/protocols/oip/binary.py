"""The binary tensor extension of the Open Inference Protocol: tensors as bytes behind the JSON of a body.

Triton's client sends and asks for them unless it is told otherwise. Numbers are little-endian; an element of a BYTES
tensor is its length in four bytes, and then the element.
"""

import struct
from collections.abc import Iterator, Sequence, Set
from itertools import islice
from typing import Any

import numpy as np
import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from actors.serving.gateway.protocols.bodies.json_body import JSONRequest, decoded, most_values, route_of
from actors.serving.types import Refusal, Refused

JSON_LENGTH = "Inference-Header-Content-Length"
"""Header that says how many bytes of a body are JSON; those of the tensors come behind."""

_LENGTH = struct.Struct("<I")
_NUMBERS = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}


def binary_tensor_route(max_inputs: int) -> type[APIRoute]:
    """The class of routes whose body may have tensors behind its JSON, each of at most so many elements."""
    most = most_values(max_inputs)
    return route_of(
        lambda http: _TensorRequest(http, most, max_inputs) if JSON_LENGTH in http.headers else JSONRequest(http, most)
    )


class _TensorRequest(JSONRequest):
    def __init__(self, http: Request, most: int, most_elements: int) -> None:
        super().__init__(http, most)
        self._most_elements = most_elements

    @property
    def headers(self) -> Headers:
        # Whatever type the client names, what `json` gives is JSON.
        raw = [(name, value) for name, value in self.scope["headers"] if name != b"content-type"]
        return Headers(raw=raw)

    async def json(self) -> Any:
        """The JSON, with the tensors' elements in their place.

        Raises:
            json.JSONDecodeError: what should be JSON is not.
            Refused: the sizes are not those of the bytes, the bytes are not those of strings, or they are too many.
        """
        body, told = await self.body(), super().headers[JSON_LENGTH]
        if not told.isascii() or not told.isdigit() or int(told[:12]) > len(body):
            raise Refused.of_field(JSON_LENGTH, f"{told[:40]!r} is no number of bytes up to the body's {len(body)}")
        return joined(decoded(body[: int(told)], self.most), body[int(told) :], self._most_elements)


def joined(content: Any, tensors: bytes, most: int) -> Any:
    """The JSON of a request whose binary inputs have their strings as `data`, and no `binary_data_size` any more.

    Args:
        content: any JSON; what is no request stays as it is, for whoever validates it.
        tensors: the binary inputs, one behind the other.
        most: elements of a tensor. It is looked at element by element: a body has room for millions of empty ones, and
            nobody else is served while they are read.

    Raises:
        Refused: the sizes are not those of the bytes, the bytes are not those of strings, or a tensor has more than
            `most` elements.
    """
    inputs = content.get("inputs") if isinstance(content, dict) else None
    start = 0
    for place, tensor in enumerate(inputs if isinstance(inputs, list) else ()):
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        if not isinstance(parameters, dict) or parameters.get("binary_data_size") is None:
            continue
        size = parameters.pop("binary_data_size")
        name = f"inputs.{place}.parameters.binary_data_size"
        if type(size) is not int or not 0 <= size <= len(tensors) - start:
            left = len(tensors) - start
            raise Refused.of_field(name, f"{str(size)[:40]} is no number of bytes up to the {left} that are left")
        strings = _strings(f"inputs.{place}", tensors[start : start + size])
        tensor["data"] = list(islice(strings, most))
        if next(strings, None) is not None:
            raise Refused(
                Refusal(413, "too_many_inputs", f"inputs.{place} has more than {most} elements; send them in parts")
            )
        start += size
    if start != len(tensors):
        raise Refused.of_field(
            "inputs", f"{len(tensors) - start} bytes behind the JSON belong to no tensor; say binary_data_size for each"
        )
    return content


def _strings(place: str, data: bytes) -> Iterator[str]:
    start = 0
    while start < len(data):
        begin = start + _LENGTH.size
        end = begin + _LENGTH.unpack_from(data, start)[0] if begin <= len(data) else begin
        if end > len(data):
            raise Refused.of_field(
                place, f"the element at byte {start} ends behind the tensor; send its length in four bytes, then itself"
            )
        try:
            yield data[begin:end].decode()
        except UnicodeDecodeError as error:
            raise Refused.of_field(place, f"the element at byte {start} is not UTF-8; encode it anew") from error
        start = end


def response(content: dict[str, Any], binary: Set[str]) -> Response:
    """A reply whose outputs of these names, at least one, are bytes behind the JSON."""
    outputs, tensors = [], []
    for output in content["outputs"]:
        if output["name"] in binary:
            tensors.append(_bytes(output["datatype"], output["data"]))
            output = {name: value for name, value in output.items() if name != "data"}
            output["parameters"] = {"binary_data_size": len(tensors[-1])}
        outputs.append(output)
    head = orjson.dumps(content | {"outputs": outputs})
    return Response(
        b"".join([head, *tensors]), headers={JSON_LENGTH: str(len(head))}, media_type="application/octet-stream"
    )


def _bytes(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(part for one in encoded for part in (_LENGTH.pack(len(one)), one))
    return np.asarray(values, _NUMBERS[datatype]).tobytes()
