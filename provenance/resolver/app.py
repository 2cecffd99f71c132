"""The resolver as a FastAPI application.

    app = create_app(registry.place())        # uvicorn serves it: provenance registry serve

Routes, parameters and answers are those of C2PA's OpenAPI description. ``/matches/byReference`` is optional there, and
refused here: this server fetches no address that a stranger names.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from provenance import __version__, likeness, registry
from provenance.errors import InputError, ProvenanceError, RegistryError
from provenance.fingerprint import ALGORITHM as FINGERPRINT
from provenance.fingerprint import Fingerprint
from provenance.registry import Place
from provenance.registry.store import Registry
from provenance.resolver import jumbf
from provenance.resolver.limits import Guard, Limits
from provenance.watermark import ALGORITHM, PAYLOAD_BYTES

_LONGEST_VALUE = 8192
_MEDIA = ("video/", "image/", "application/octet-stream", "application/mp4")


class Match(BaseModel):
    """c2pa.softBindingQueryResult, one of its matches."""

    manifestId: str
    similarityScore: int | None = Field(default=None, ge=0, le=100)


class Matches(BaseModel):
    """c2pa.softBindingQueryResult."""

    matches: list[Match]


class Binding(BaseModel):
    """c2pa.softBindingQuery."""

    alg: str
    value: str


Most = Annotated[int, Query(alias="maxResults", ge=1)]


def create_app(where: Place, limits: Limits | None = None) -> FastAPI:
    """A resolver of what is registered there.

    Raises:
        RegistryError: the registry cannot be opened.
    """
    limits = limits or Limits()
    known = registry.opened(where)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with known:
            yield

    # Without the pages that fetch scripts from elsewhere.
    app = FastAPI(
        title="sorajax soft binding resolver", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.add_middleware(Guard, limits=limits)
    searches = asyncio.Semaphore(limits.searches)

    @app.exception_handler(RegistryError)
    async def failed(_: Request, error: RegistryError) -> JSONResponse:
        print(f"provenance: {error}", file=sys.stderr)
        return JSONResponse({"detail": "the registry cannot be read"}, status_code=500)

    @app.get("/matches/byBinding", response_model_exclude_none=True)
    def by_binding(alg: str, value: str, most: Most = 10) -> Matches:
        if len(value) > _LONGEST_VALUE:
            raise HTTPException(414, "the value is too long for an address; use POST")
        return _bound(known, alg, value, min(most, limits.results))

    @app.post("/matches/byBinding", response_model_exclude_none=True)
    def by_large_binding(query: Binding, most: Most = 10) -> Matches:
        return _bound(known, query.alg, query.value, min(most, limits.results))

    @app.post("/matches/byContent", response_model_exclude_none=True)
    async def by_content(
        request: Request,
        alg: str | None = None,
        most: Most = 10,
        hint_alg: Annotated[str | None, Query(alias="hintAlg")] = None,
        hint_value: Annotated[str | None, Query(alias="hintValue")] = None,
    ) -> Matches:
        if alg not in (None, ALGORITHM, FINGERPRINT):
            raise HTTPException(400, f"the algorithm {alg[:100]!r} is not supported")
        if not request.headers.get("content-type", "").startswith(_MEDIA):
            raise HTTPException(415, "send the file itself, as video/mp4 or another type of video")
        most = min(most, limits.results)
        if searches.locked():
            raise HTTPException(503, "all searches are taken; ask again in a minute", {"Retry-After": "60"})
        seen = await _look(request, limits, searches)
        matches = await asyncio.to_thread(_seen, known, alg, seen, most)
        if hint_alg and hint_value and not matches.matches:
            matches = await asyncio.to_thread(_bound, known, hint_alg, hint_value, most)
        return matches

    @app.post("/matches/byReference")
    def by_reference() -> Response:
        raise HTTPException(501, "this resolver fetches no addresses; send the file to /matches/byContent")

    @app.get("/manifests/{manifest_id:path}")
    def manifest(manifest_id: str, active: Annotated[bool, Query(alias="returnActiveManifest")] = False) -> Response:
        entries = known.by_manifest_id(manifest_id[:2000])
        if not entries:
            raise HTTPException(404, "no such manifest")
        store = known.manifest(entries[0])
        headers = {"X-Content-Type-Options": "nosniff"}
        return Response(jumbf.active_only(store) if active else store, media_type="application/c2pa", headers=headers)

    @app.get("/services/supportedAlgorithms")
    def algorithms() -> dict[str, Any]:
        return {"watermarks": [{"alg": ALGORITHM}], "fingerprints": [{"alg": FINGERPRINT}]}

    return app


def _bound(known: Registry, alg: str, value: str, most: int) -> Matches:
    """Matches of a soft binding's value, base64."""
    try:
        plain = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise HTTPException(400, "the value is not base64") from None
    if alg == ALGORITHM:
        if len(plain) != PAYLOAD_BYTES:
            raise HTTPException(400, f"a value of {ALGORITHM} has {PAYLOAD_BYTES} bytes, not {len(plain)}")
        return _marked(known, plain, most)
    if alg == FINGERPRINT:
        try:
            return _alike(known, Fingerprint.from_bytes(plain), most)
        except InputError as error:
            raise HTTPException(400, str(error)) from None
    raise HTTPException(400, f"the algorithm {alg[:100]!r} is not supported; see /services/supportedAlgorithms")


def _marked(known: Registry, payload: bytes, most: int) -> Matches:
    labels = dict.fromkeys(entry.manifest_id for entry in known.by_payload(payload, most=most))
    return Matches(matches=[Match(manifestId=label, similarityScore=100) for label in labels])


def _alike(known: Registry, copy: Fingerprint, most: int) -> Matches:
    found: dict[str, int] = {}
    for near in known.alike(copy, most=min(most, 10)):
        try:
            original = known.fingerprint(near.entry)
        except ProvenanceError:
            continue
        if original is not None:
            alike = likeness.compare(copy, original, search=False)
            if alike.agreement >= likeness.CERTAIN:
                found.setdefault(near.entry.manifest_id, max(0, min(100, round(100 * alike.agreement))))
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return Matches(matches=[Match(manifestId=label, similarityScore=score) for label, score in ranked])


def _seen(known: Registry, alg: str | None, seen: dict[str, Any], most: int) -> Matches:
    """By the watermark if there is one; else, or if asked, by likeness."""
    if alg != FINGERPRINT and seen.get("payload"):
        found = _marked(known, bytes.fromhex(seen["payload"]), most)
        if found.matches or alg == ALGORITHM:
            return found
    if alg == ALGORITHM:
        return Matches(matches=[])
    return _alike(known, Fingerprint.from_bytes(base64.b64decode(seen["fingerprint"])), most)


async def _look(request: Request, limits: Limits, searches: asyncio.Semaphore) -> dict[str, Any]:
    """Spool an upload to a file that is gone afterwards, and look into it elsewhere."""
    handle, path = tempfile.mkstemp(prefix="resolver-", suffix=".upload")
    try:
        with os.fdopen(handle, "wb") as file:
            size = 0
            try:
                async with asyncio.timeout(limits.upload_seconds):
                    async for part in request.stream():
                        size += len(part)
                        await asyncio.to_thread(file.write, part)
            except ClientDisconnect:
                raise HTTPException(
                    413, f"the file was cut short, or has more than {limits.upload_bytes} bytes"
                ) from None
            except TimeoutError:
                raise HTTPException(408, "the file took too long to arrive") from None
        if not size:
            raise HTTPException(400, "there is no file in the request")
        async with searches:
            return await _searched(path, limits)
    finally:
        os.unlink(path)


async def _searched(path: str, limits: Limits) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "provenance.resolver.searching", path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), limits.search_seconds)
        seen = json.loads(out)
    except TimeoutError:
        raise HTTPException(400, f"the file takes more than {limits.search_seconds:g} s to search") from None
    except ValueError:
        raise HTTPException(400, "the file cannot be searched") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if "error" in seen:
        raise HTTPException(400, f"the file cannot be searched: {seen['error']}")
    return seen
