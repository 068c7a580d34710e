"""Pages in HTML: the frame that all have in common, the headers that protect them, and their files."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from consumer.pages.session import Visitor

OPERATIONS = "operations:read"
"""The scope that reads how the consumer runs."""
FILES = "/static/"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)

_HERE = Path(__file__).parent
_HEADERS = {
    # What one person saw must not be in a cache of the machine when the next one sits down at it.
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
)
_NOTICES: Mapping[bool, str] = MappingProxyType(
    {
        False: "Nobody signs in here: everybody who can use this machine sees every limit.",
        True: "Nobody signs in here: a gateway in front of this server decides who sees these pages.",
    }
)
"""By whether there is a gateway."""


def render(request: Request, template: str, context: Mapping[str, object], status: int = HTTPStatus.OK) -> Response:
    """A page. What all templates know: `visitor`, `path`, `notice`, `sees_operations` and `asset(name)`."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    page = _environment().get_template(template)
    text = page.render(
        {
            "visitor": visitor,
            "path": request.scope["path"],
            "notice": _notice(request, visitor),
            "sees_operations": visitor is not None and sees_operations(visitor),
            **context,
        }
    )
    return Response(text, status, headers=_HEADERS, media_type="text/html")


def sees_operations(visitor: Visitor) -> bool:
    """Whether the visitor may see how the consumer runs."""
    return visitor.caller.trusted or OPERATIONS in visitor.caller.scopes


def add_files(app: FastAPI) -> None:
    """Serves the files of the pages, read once."""
    for name, content in _files().items():
        app.add_api_route(FILES + name, _serve(content, Path(name).suffix), include_in_schema=False)


def _serve(content: bytes, suffix: str) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        return Response(content, headers=_FOREVER, media_type=_MEDIA_TYPES[suffix])

    return serve


def _notice(request: Request, visitor: Visitor | None) -> str | None:
    if visitor is None or not visitor.caller.trusted:
        return None
    return _NOTICES[request.app.state.pages.is_behind_gateway]


def _asset(name: str) -> str:
    """The address of a file. It changes with the content, so that browsers may keep the file."""
    return f"{FILES}{name}?{blake2b(_files()[name], digest_size=8).hexdigest()}"


@cache
def _files() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((_HERE / "static").iterdir())}


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = _asset
    return made
