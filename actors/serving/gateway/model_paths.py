"""Paths below `/models/NAME`, where a service has several models: each is a path of the service of that model alone."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match, NoMatchFound, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.models.names import public_names

_PREFIX = "/models/"


class ModelPathMiddleware:
    """Moves `/models/NAME` from the path to the root path: whatever is inside sees the path of the model's own service.

    A path that begins with no model's name, or that ends with it, stays as it is.
    """

    def __init__(self, app: ASGIApp, models: Sequence[str]) -> None:
        """Takes the names of the models; as everywhere, they may be called by the last part of it alone."""
        self._app = app
        # The longest that fits is meant: one name may be the beginning of another.
        self._names = sorted(public_names(models).items(), key=lambda pair: -len(pair[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application; the model is `state.model` then."""
        await self._app(self._below_model(scope) if scope["type"] == "http" else scope, receive, send)

    def _below_model(self, scope: Scope) -> Scope:
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        for name, public in self._names:
            prefix = _PREFIX + name
            if path.startswith(f"{prefix}/"):
                state = {**scope.get("state", {}), "model": public}
                return {**scope, "root_path": root + prefix, "path": root + path, "state": state}
        return scope


class ModelRoutes(BaseRoute):
    """The routes of one model, for the paths that `ModelPathMiddleware` has found to be below its name."""

    def __init__(self, model: str, router: Router) -> None:
        self._model = model
        self._router = router

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """All that is below the model's name, whether one of its routes has it or not."""
        is_ours = scope["type"] == "http" and scope.get("state", {}).get("model") == self._model
        return (Match.FULL if is_ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        await self._router(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> NoMatchFound:  # type: ignore[override]
        """Nothing asks for the path of a route by its name."""
        raise NoMatchFound(name, dict(path_params))
