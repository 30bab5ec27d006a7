"""JSON bodies whose values are counted before one of them becomes an object.

A body of 16 MiB has room for millions of empty strings, lists or numbers, which take a hundred times their bytes, and
seconds in which the gateway serves nobody else.
"""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from actors.serving.types import Refusal, Refused

_EACH = 4
"""Most values of an input, and the list around them: a tensor may have a list for each of its elements."""
_BESIDE = 1 << 17
"""Values beside the inputs. Lists of token ids, which some routes refuse by name, come to so many."""
_TO_NEXT = re.compile(r'[^",\[{]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^",\[{]*+)*+[,\[{]', re.DOTALL)
"""What comes before a value, strings included, up to the character after which the value stands."""


def most_values(max_inputs: int) -> int:
    """The values that a body with so many inputs may hold: strings, numbers, lists and objects at any depth."""
    return _EACH * max_inputs + _BESIDE


def decoded(body: bytes, most: int) -> Any:
    """The JSON of a body that has no more than about so many values.

    Raises:
        json.JSONDecodeError: it is none.
        UnicodeDecodeError: it is no text.
        Refused: there are more.
    """
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    if _holds_more(text, most):
        raise Refused(
            Refusal(413, "too_many_inputs", f"the body holds more than {most} values; send its inputs in parts")
        )
    return json.loads(text)


def _holds_more(text: str, most: int) -> bool:
    # Nearly all bodies are done with here. In others, commas of prose are told from those between values.
    if sum(map(text.count, ",[{")) <= most:
        return False
    place = 0
    for _ in range(most + 1):
        found = _TO_NEXT.match(text, place)
        if found is None:
            return False
        place = found.end()
    return True


class JSONRequest(Request):
    """A request whose JSON is bounded."""

    def __init__(self, http: Request, most: int) -> None:
        """Takes the server's request, and the values that its JSON may hold."""
        super().__init__(http.scope, http.receive)
        self.most = most

    async def json(self) -> Any:
        """Raises what `decoded` does."""
        return decoded(await self.body(), self.most)


def bounded_route(max_inputs: int) -> type[APIRoute]:
    """The class of routes that take JSON of so many inputs."""
    return route_of(lambda http: JSONRequest(http, most_values(max_inputs)))


def route_of(bounded: Callable[[Request], Request]) -> type[APIRoute]:
    """The class of routes that read their bodies through another request, made from the server's."""

    class BoundedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_bounded(http: Request) -> Response:
                return await handle(bounded(http))

            return handle_bounded

    return BoundedRoute
