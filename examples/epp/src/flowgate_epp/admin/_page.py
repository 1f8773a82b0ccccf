"""The page's files, and the headers that keep it to them."""

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from aiohttp import web

__all__ = ["PAGE_HEADERS", "page_routes"]

PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # Scripts, styles and events from here alone; nothing inline, no frame around it.
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
)

_FILES = (
    ("/", "index.html", "text/html"),
    ("/page.css", "page.css", "text/css"),
    ("/page.js", "page.js", "text/javascript"),
    ("/icon.svg", "icon.svg", "image/svg+xml"),
)


def page_routes() -> list[web.RouteDef]:
    """Read the files, and return a route for each."""
    folder = resources.files("flowgate_epp.admin") / "page"
    return [_route(path, (folder / name).read_text("utf-8"), kind) for path, name, kind in _FILES]


def _route(path: str, text: str, kind: str) -> web.RouteDef:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind, charset="utf-8", headers=PAGE_HEADERS)

    return web.get(path, answer)
