"""The routes of the pages: `/` for browsers, `/docs`, and the files of both, all of which come from this machine."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_OURS = Path(__file__).parent / "static"
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
"""The files of Swagger UI that /docs loads; the package fastapi-swagger brings them."""
_OF_PAGES = {"text/html", "application/xhtml+xml"}

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A browser asks whether its copy is still good: after an update of the service no old script meets a new page.
    "Cache-Control": "no-cache",
}
_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"
_PAGE_POLICY = (
    f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self'; img-src 'self'; require-trusted-types-for 'script'"
)
# Swagger UI writes styles into its elements, and its icons are data: URLs.
_DOCS_POLICY = f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def asks_for_page(scope: Scope) -> bool:
    """Whether the client names HTML among what it takes, as browsers do; that it takes anything (*/*) is not enough."""
    accepted = ",".join(Headers(scope=scope).getlist("accept")).split(",")
    return any(kind.partition(";")[0].strip().lower() in _OF_PAGES for kind in accepted)


def page_router() -> APIRouter:
    """`/`, `/docs`, `/page/...` and `/docs/...`; none of them is in the OpenAPI document, and none needs a key.

    Raises:
        ModuleNotFoundError: fastapi-swagger is not installed.
    """
    router = APIRouter(include_in_schema=False)
    ours, swagger = _Files(_OURS), _Files(Path(str(files("fastapi_swagger") / "resources")), _SWAGGER)

    @router.get("/")
    async def page(http: Request) -> Response:
        if not asks_for_page(http.scope):
            raise HTTPException(405, headers={"Allow": "POST"})
        return await ours.response(
            "index.html", http.scope, {"Content-Security-Policy": _PAGE_POLICY, "Vary": "Accept"}
        )

    @router.get("/docs")
    async def docs(http: Request) -> Response:
        return await ours.response("docs.html", http.scope, {"Content-Security-Policy": _DOCS_POLICY})

    @router.get("/page/{file:path}")
    async def page_file(file: str, http: Request) -> Response:
        return await ours.response(file, http.scope, {"Content-Security-Policy": _PAGE_POLICY})

    @router.get("/docs/{file}")
    async def docs_file(file: str, http: Request) -> Response:
        return await swagger.response(file, http.scope)

    return router


class _Files:
    """Files of a folder that are given to browsers; no other path is ever looked for on the disk."""

    def __init__(self, folder: Path, names: tuple[str, ...] | None = None) -> None:
        """Takes the names of the files; None takes all that are in the folder."""
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        self._names = frozenset(found if names is None else names)
        self._files = StaticFiles(directory=folder)

    async def response(self, name: str, scope: Scope, headers: Mapping[str, str] | None = None) -> Response:
        """The file, or 304 where the browser has it already.

        Raises:
            HTTPException: 404, there is no such file.
        """
        if name not in self._names:
            raise HTTPException(404)
        response = await self._files.get_response(name, scope)
        response.headers.update(_SECURITY | dict(headers or {}))
        return response
