"""The page: files that `make setup` builds into consumer/web/dist. Everything else works without them."""

import re
from html import escape
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

BUILT: Final = Path(__file__).parents[3] / "web" / "dist"
ADDRESSES: Final = ("new", "runs", "compare", "optimizations", "strategies")
"""First parts of what the page shows as its own address; a reload of one gets the page."""
_OF_PAGE: Final = re.compile(rf"/(?:({'|'.join(ADDRESSES)})(/.*)?)?")
IMMUTABLE: Final = "public, max-age=31536000, immutable"
NOT_BUILT: Final = (
    "<!doctype html><html lang=en><title>Backtest: the page was not built</title><main><h1>The page was not built</h1>"
    "<p>The program runs, and everything but its page works. <code>make setup</code> builds the page where it can"
    ' reach npm\'s registry. Programs find what there is at <a href="{root}/docs">{root}/docs</a>.</main></html>'
)


def is_address_of_page(path: str) -> bool:
    """Whether it is answered with the page or a file of it, which hold nothing that needs a token."""
    return path.startswith("/assets/") or path == "/favicon.ico" or _OF_PAGE.fullmatch(path) is not None


def serve_page(app: FastAPI, root_path: str, built: Path = BUILT) -> None:
    """Add the page's routes. root_path: what the proxy strips; the page learns of it by its `<base href>`."""
    router = APIRouter(include_in_schema=False)

    async def page() -> Response:
        index = built / "index.html"
        if not index.is_file():
            return HTMLResponse(NOT_BUILT.format(root=escape(root_path, quote=True)), 503)
        text = index.read_text(encoding="utf-8")
        based = text.replace('<base href="/">', f'<base href="{escape(root_path, quote=True)}/">', 1)
        return HTMLResponse(based, headers={"Cache-Control": "no-cache"})

    async def icon() -> Response:
        file = built / "favicon.ico"
        return FileResponse(file) if file.is_file() else Response(status_code=204)

    router.add_api_route("/", page, methods=["GET"])
    router.add_api_route("/favicon.ico", icon, methods=["GET"])
    for first in ADDRESSES:
        router.add_api_route(f"/{first}", page, methods=["GET"])
        router.add_api_route(f"/{first}/{{rest:path}}", page, methods=["GET"])
    app.include_router(router)
    assets = _Assets(directory=built / "assets", check_dir=False)
    assets.config_checked = True  # a folder that is not there is a page that was not built, and no defect
    app.mount("/assets", assets, name="assets")


class _Assets(StaticFiles):
    """Files whose names hold their content's digest: a browser need never ask for one again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in {200, 304}:
            response.headers["Cache-Control"] = IMMUTABLE
        return response
