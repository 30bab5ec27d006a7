"""The routes of the pages: `/` for browsers, `/docs`, and the files of both, all of which come from this machine."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from actors.serving.gateway.page.files import NOTHING_ELSE, PAGE_FOLDER, PAGE_POLICY, PageFiles

_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
"""The files of Swagger UI that /docs loads; the package fastapi-swagger brings them."""
_OF_PAGES = {"text/html", "application/xhtml+xml"}

# Swagger UI writes styles into its elements, and its icons are data: URLs.
_DOCS_POLICY = f"{NOTHING_ELSE}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


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
    ours, swagger = PageFiles(PAGE_FOLDER), PageFiles(Path(str(files("fastapi_swagger") / "resources")), _SWAGGER)

    @router.get("/")
    async def page(http: Request) -> Response:
        if not asks_for_page(http.scope):
            raise HTTPException(405, headers={"Allow": "POST"})
        return await ours.response("index.html", http.scope, {"Content-Security-Policy": PAGE_POLICY, "Vary": "Accept"})

    @router.get("/docs")
    async def docs(http: Request) -> Response:
        return await ours.response("docs.html", http.scope, {"Content-Security-Policy": _DOCS_POLICY})

    @router.get("/page/{file:path}")
    async def page_file(file: str, http: Request) -> Response:
        return await ours.response(file, http.scope, {"Content-Security-Policy": PAGE_POLICY})

    @router.get("/docs/{file}")
    async def docs_file(file: str, http: Request) -> Response:
        return await swagger.response(file, http.scope)

    return router
