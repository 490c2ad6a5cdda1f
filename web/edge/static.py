"""Static files from memory: named by their content, so that browsers keep them for good and never a stale one."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath

from market.refusals import NotFound

DIRECTORY = Path(__file__).parents[1] / "static"
FOR_GOOD = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
COMPRESSED = ("text/", "application/javascript", "application/json", "application/manifest+json", "image/svg+xml")


@dataclass(frozen=True)
class StaticFile:
    """One file as it is sent."""

    media_type: str
    digest: str
    content: bytes
    zipped: bytes | None


class StaticFiles:
    """All files of a directory, read once. What was not read cannot be asked for, whatever the path says."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        found = (path for path in sorted(directory.rglob("*")) if path.is_file() and not path.name.startswith("."))
        self._files = {path.relative_to(directory).as_posix(): _read(path) for path in found}
        all_of_them = "".join(file.digest for file in self._files.values())
        self.digest = hashlib.sha256(all_of_them.encode()).hexdigest()
        """Another one as soon as any file is another one."""

    def url(self, name: str) -> str:
        """The address of a file with the digest of its content. For templates.

        Raises:
            KeyError: when there is no such file, so that a wrong name is found by the first render.
        """
        return f"/static/{name}?v={self._files[name].digest}"

    def find(self, name: str) -> StaticFile | None:
        return self._files.get(name)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".webmanifest":
        media_type = "application/manifest+json"
    if path.suffix == ".js":
        media_type = "text/javascript"
    zipped = gzip.compress(content, mtime=0) if media_type.startswith(COMPRESSED) else None
    return StaticFile(media_type, hashlib.sha256(content).hexdigest()[:16], content, zipped)


@get("/static/{name:path}", include_in_schema=False, sync_to_thread=False)
def static_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    file = request.app.state.static.find(name.lstrip("/"))
    if file is None:
        raise NotFound("There is nothing at this address.")
    tag = f'"{file.digest}"'
    named_by_content = request.query_params.get("v") == file.digest
    headers = {"ETag": tag, "Cache-Control": FOR_GOOD if named_by_content else ASK_AGAIN, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(b"", status_code=304, headers=headers)
    body = file.content
    if file.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = file.zipped, "gzip"
    return Response(body, media_type=file.media_type, headers=headers)


routes = [static_file]
