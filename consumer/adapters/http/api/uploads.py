"""A file that is sent: the body as it is, or the part `file` of a form, kept on disk and bounded while it comes."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from consumer.adapters.http.api.bodies import too_large
from consumer.adapters.http.api.problems import Problem, refused_field

_FRAME_BYTES: Final = 64 * 1024
"""What a form may say around its file."""
_COPIED_BYTES: Final = 1024 * 1024
_LONGEST_NAME: Final = 255


@asynccontextmanager
async def sent_file(request: Request, limit: int, name: str) -> AsyncIterator[tuple[Path, str]]:
    """Where the file lies while the block is open, and what it is called; name: of a body without one.

    Raises Problem: 400 for a form that is none, 413 beyond the limit, 422 for a form without one file, or with a name
    that is a path.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit + _FRAME_BYTES:
        raise too_large(limit)
    with NamedTemporaryFile(prefix="backtest-upload-") as kept:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
            name = await _from_form(request, limit, kept)
        else:
            async for part in _bounded(request, limit):
                await asyncio.to_thread(kept.write, part)
        kept.flush()
        if os.fstat(kept.fileno()).st_size > limit:
            raise too_large(limit)
        yield Path(kept.name), name


async def _from_form(request: Request, limit: int, kept: IO[bytes]) -> str:
    parser = MultiPartParser(request.headers, _bounded(request, limit + _FRAME_BYTES), max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        message = getattr(error, "message", "") or "the form cannot be read"
        raise Problem(400, "undecodable", f"the form is not one file named `file`: {message}") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise refused_field("file", "is missing: the form holds one file of that name")
        name = _plain_name(file.filename or "")
        while part := await file.read(_COPIED_BYTES):
            await asyncio.to_thread(kept.write, part)
    finally:
        await form.close()
    return name


async def _bounded(request: Request, limit: int) -> AsyncGenerator[bytes]:
    read = 0
    async for part in request.stream():
        read += len(part)
        if read > limit:
            raise too_large(limit)
        yield part


def _plain_name(name: str) -> str:
    """A name that messages can show and that is no path."""
    is_plain = name.isprintable() and not any(each in name for each in "/\\") and name.strip(". ") != ""
    if not is_plain or len(name) > _LONGEST_NAME:
        raise refused_field("file", f"has no plain name of at most {_LONGEST_NAME} characters")
    return name
