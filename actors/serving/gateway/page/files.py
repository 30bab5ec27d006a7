"""Files of pages as browsers get them: with the policies that keep everything else out."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE_FOLDER = Path(__file__).parent / "static"
"""The files of the service's page, modules included that other pages share."""

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A browser asks whether its copy is still good: after an update of the service no old script meets a new page.
    "Cache-Control": "no-cache",
}
NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"
PAGE_POLICY = f"{NOTHING_ELSE}; script-src 'self'; style-src 'self'; img-src 'self'; require-trusted-types-for 'script'"


class PageFiles:
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
        response.headers.update(SECURITY | dict(headers or {}))
        return response
