"""JSON bodies as they were meant: the right type, each name once, nothing unknown, and nothing but JSON."""

import json
import re
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException

from market.refusals import BadInput

BODY_BYTES = 16_384
MEDIA_TYPE = "application/json"

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


class NotJson(HTTPException):
    """The body comes under another content type, or in an encoding."""

    status_code = 415


class StrictRequest(Request[Any, Any, Any]):
    """A request of the API. Litestar itself would take "5" for 5, and text/plain for JSON; this does not."""

    async def body(self) -> bytes:
        body = await super().body()
        if self.route_handler.parsed_data_field is not None:
            self._require_json()
            if not body:
                raise BadInput("Send a body.", field="body")
        return body

    async def json(self) -> Any:
        """The body as the type that the route's handler asks for."""
        field = self.route_handler.parsed_data_field
        return decode(await self.body(), Any if field is None else field.annotation)

    def _require_json(self) -> None:
        media_type, options = self.content_type
        charset = options.get("charset", "utf-8").lower()
        if media_type != MEDIA_TYPE or charset != "utf-8" or "content-encoding" in self.headers:
            raise NotJson(f"Send the body as {MEDIA_TYPE}, in UTF-8, not compressed.")


def refuse_repeated_parameters(request: Request[Any, Any, Any]) -> None:
    """Two readers of `?n=1&n=2` may take different ones, so nobody takes any."""
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise BadInput("This parameter is given more than once.", field=_shown(repeated))


def decode(body: bytes, kind: Any) -> Any:
    """Decode a body strictly.

    Raises:
        BadInput: naming the field that is wrong.
        RecursionError: when it is nested too deeply to read; the edge answers 400.
    """
    try:
        value = msgspec.json.decode(body, type=kind, strict=True)
        json.loads(body, object_pairs_hook=_each_name_once, parse_int=str, parse_float=str)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadInput("The body is not JSON.", field="body") from None
    return value


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise BadInput("This field is given more than once.", field=_shown(repeated))
    return dict(pairs)


def _refusal(text: str) -> BadInput:
    """Turn msgspec's words into ours: the field's own path, and the words without it."""
    at = _PATH.search(text)
    words = _PATH.sub("", text).replace("`", "")
    named = _NAMED.search(text)
    path = ".".join(part for part in (at["path"] if at else "", named["name"] if named else "") if part)
    return BadInput(words + ".", field=_shown(path) or "body")


def _shown(name: str) -> str:
    """A name from the request, fit to be shown again."""
    return "".join(character for character in name if character.isprintable())[:64]
