"""Serve the Open Inference Protocol v2, with Triton's binary tensor data.

Sources: as in `tensors`.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from darnet_trt import __version__
from darnet_trt.errors import BusyError, DarnetError, DeviceError
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.serving.http import tensors
from darnet_trt.runtime.serving.http.bodies import Body, Buffer
from darnet_trt.runtime.serving.http.errors import (
    TICKET,
    check_ready,
    check_room,
    check_started,
    documented,
)
from darnet_trt.runtime.serving.http.openapi import SCHEMAS
from darnet_trt.runtime.serving.http.tensors import (
    INPUT,
    LARGEST_HEADER,
    LONGEST_NUMBER,
    NAME,
    VERSION,
    InferBody,
    Model,
    Volumes,
)
from darnet_trt.runtime.serving.network.budget import Budget

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.service import Service

_JSON_BYTES: Final = "Inference-Header-Content-Length"
_MODEL: Final = f"/models/{NAME}"
_LONGEST_LENGTH: Final = 12  # digits


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    """darnet-trt."""
    version: str
    """Its version."""
    extensions: list[str]
    """What it knows beyond the protocol."""


class TensorMetadata(BaseModel):
    """What a tensor is like."""

    name: str
    """Its name."""
    datatype: str
    """FP32."""
    shape: list[int]
    """-1 is the batch."""


class ModelMetadata(BaseModel):
    """What a model is like."""

    name: str
    """Its name."""
    versions: list[str]
    """Only "1": the bundle that is served."""
    platform: str
    """The software that runs it."""
    inputs: list[TensorMetadata]
    """One: the volume, with values of 0 … 1."""
    outputs: list[TensorMetadata]
    """Logits, probabilities and the class activation map."""


class OutputTensor(BaseModel):
    """An output of the network."""

    name: str
    """Its name."""
    datatype: str
    """FP32."""
    shape: list[int]
    """Its shape."""
    parameters: dict[str, int] = {}
    """binary_data_size: its bytes behind the JSON."""
    data: list[float] = []
    """Its numbers, row-major; absent where they are behind the JSON."""


class InferAnswer(BaseModel):
    """The answer to a request to infer."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model_name": NAME,
                "model_version": VERSION,
                "id": "42",
                "outputs": [
                    {
                        "name": "probabilities",
                        "datatype": "FP32",
                        "shape": [1, 3],
                        "data": [0.07, 0.02, 0.91],
                    }
                ],
            }
        }
    )
    model_name: str
    """As asked for."""
    model_version: str
    """The version that ran."""
    id: str = ""
    """As asked with."""
    outputs: list[OutputTensor]
    """In the order in which they were asked for."""


class Live(BaseModel):
    """Whether the process answers."""

    live: bool
    """True."""


class Ready(BaseModel):
    """Whether the service takes work."""

    ready: bool
    """True."""


_BODIES: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": f"{SCHEMAS}{InferBody.__name__}"},
                "example": {
                    "id": "42",
                    "inputs": [
                        {
                            "name": INPUT,
                            "shape": [1, 1, 64, 224, 224],
                            "datatype": "FP32",
                            "parameters": {"binary_data_size": 12845056},
                        }
                    ],
                    "outputs": [{"name": "probabilities"}],
                },
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def make_router(service: Service) -> APIRouter:
    """Return the protocol's routes."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
    limits = service.settings.http
    assert limits is not None
    budget = Budget(service.settings.volume_bytes)

    def fitting(*, binary: bool) -> Model:
        """Return what a request must fit, whose tensor is bytes or numbers of JSON."""
        settings = service.settings
        one = Model.of(service.manifest, 1)
        volume = one.volume_bytes if binary else one.volume_bytes // 4 * LONGEST_NUMBER
        size = min(settings.volume_bytes, limits.tensors)
        return replace(one, most=max(1, min(settings.volumes, size // volume)))

    @router.get("", responses=documented())
    @router.get("/", include_in_schema=False)
    async def server_metadata() -> ServerMetadata:
        """Say what this server is."""
        return ServerMetadata(
            name="darnet-trt", version=__version__, extensions=["binary_tensor_data"]
        )

    @router.get("/health/live", responses=documented())
    async def live() -> Live:
        """Say that the process answers."""
        return Live(live=True)

    @router.get("/health/ready", responses=documented())
    async def ready() -> Ready:
        """Say whether the service takes work, scans too; 503 where it does not."""
        check_ready(service)
        check_room(service)
        return Ready(ready=True)

    @router.get(_MODEL, responses=documented())
    @router.get(f"{_MODEL}/versions/{VERSION}", responses=documented())
    async def model_metadata() -> ModelMetadata:
        """Say what the network takes and gives."""
        check_started(service)
        one = fitting(binary=True)
        return ModelMetadata(
            name=NAME,
            versions=[VERSION],
            platform=f"darnet-trt_{service.artifact.backend}",
            inputs=[TensorMetadata(name=INPUT, datatype="FP32", shape=[-1, 1, *one.size])],
            outputs=[
                TensorMetadata(name=output, datatype="FP32", shape=shape)
                for output, shape in one.shapes.items()
            ],
        )

    @router.get(f"{_MODEL}/ready", responses=documented())
    @router.get(f"{_MODEL}/versions/{VERSION}/ready", responses=documented())
    async def model_ready() -> Ready:
        """Say whether the network can be asked; 503 where it cannot."""
        check_ready(service)
        return Ready(ready=True)

    described: dict[str, Any] = {
        "responses": {200: {"model": InferAnswer}, **documented(411, 415, 429)},
        "openapi_extra": _BODIES,
        "response_class": JSONResponse,
    }

    @router.post(f"{_MODEL}/infer", **described)
    @router.post(f"{_MODEL}/versions/{VERSION}/infer", **described)
    async def infer(
        request: Request,
        json_bytes: Annotated[
            str | None,
            Header(
                alias=_JSON_BYTES,
                description="Bytes of the JSON, where the tensor follows it; 0: there is none.",
            ),
        ] = None,
        ticket: Annotated[
            str, Header(alias=TICKET, description="As the last 429 gave it.", max_length=100)
        ] = "",
    ) -> Response:
        """Run the network on volumes."""
        check_ready(service)
        began = time.monotonic()
        head, length = _lengths(request, json_bytes)
        model = fitting(binary=head < length)
        try:
            asked, volumes = await _receive(request, head, length, model, budget, limits.slowest)
        except BusyError as busy:
            service.metrics.refused(busy.code)
            raise
        tensors.check_values(volumes)  # 1 ms each
        deadline = None if asked.timeout_s is None else began + asked.timeout_s
        future = service.queue.submit(volumes, deadline=deadline, ticket=ticket)
        outputs = await _outputs(request, future)
        text, arrays = tensors.encode_answer(asked, outputs, service.manifest.model.temperature)
        if not arrays:
            return Response(text, media_type="application/json")
        return Response(
            b"".join([text, *(array.tobytes() for array in arrays)]),
            media_type="application/octet-stream",
            headers={_JSON_BYTES: str(len(text))},
        )

    return router


def _lengths(request: Request, json_bytes: str | None) -> tuple[int, int]:
    """Return the bytes of a request's JSON and of its body; the same where no tensor follows.

    Raises:
        HTTPException: They are missing or make no sense.
    """
    length = request.headers.get("content-length")
    if length is None:
        raise HTTPException(411, "the request has no Content-Length")
    size = int(length)  # the parser of HTTP checked it
    if json_bytes is None:
        return size, size
    given = request.headers.getlist(_JSON_BYTES)
    digits = json_bytes.isascii() and json_bytes.isdigit() and len(json_bytes) <= _LONGEST_LENGTH
    if len(given) > 1 or not digits:
        raise HTTPException(400, f"{_JSON_BYTES} is not one number of bytes")
    if int(json_bytes) > size:
        raise HTTPException(400, f"{_JSON_BYTES} is {json_bytes}, the body has {size:,} bytes")
    return int(json_bytes), size


async def _receive(
    request: Request, head: int, length: int, model: Model, budget: Budget, slowest: int
) -> tuple[tensors.Request, Volumes]:
    """Receive a request and its volumes (n, 1, d, h, w).

    Args:
        request: The request, of whose body nothing was read.
        head: Bytes of its JSON.
        length: Bytes of its body.
        model: What it must fit.
        budget: For its memory.
        slowest: Fewest bytes a second.

    Raises:
        UsageError: It is malformed.
        BusyError: There is no memory for it now.
        HTTPException: It is too long, too slow, cut or packed.
        ClientDisconnect: Who sends it hung up.
    """
    largest = model.most * model.volume_bytes
    binary = head < length
    most = largest if binary else largest // 4 * LONGEST_NUMBER
    body = Body(request, LARGEST_HEADER + most, slowest)
    with budget.taken(length):
        buffer = Buffer(length, head)
        if not binary:
            await buffer.fill_up(body)
            text = buffer.text(length)
            asked = await asyncio.to_thread(tensors.parse_request, text, model, binary=False)
            assert asked.data is not None
            return asked, asked.data
        if head == 0:
            asked = tensors.raw_request(length, model)
        else:
            if head > LARGEST_HEADER:
                raise HTTPException(413, f"the JSON has more than {LARGEST_HEADER:,} bytes")
            await buffer.fill(body, head)
            asked = tensors.parse_request(buffer.text(head), model, binary=True)
            expected = head + asked.volumes * model.volume_bytes
            if expected != length:
                raise HTTPException(
                    400, f"the body has {length:,} bytes, its JSON says {expected:,}"
                )
        await buffer.fill_up(body)
        return asked, buffer.tensor(head, (asked.volumes, 1, *model.size))


async def _outputs(request: Request, future: Future[Outputs]) -> Outputs:
    """Wait for the engine; where who asked hangs up, free the place.

    Raises:
        BusyError: The deadline cannot be met any more.
        DeviceError: The engine failed.
        ClientDisconnect: Who asked hung up.
    """
    outputs = asyncio.wrap_future(future)  # to cancel it cancels the other
    gone = asyncio.ensure_future(request.receive())
    either: set[asyncio.Future[Any]] = {outputs, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not outputs.done():
            raise ClientDisconnect
        return outputs.result()
    except (DarnetError, ClientDisconnect):
        raise
    except Exception as error:  # whatever the engine raises
        raise DeviceError(f"the engine failed: {error}", do="try again") from error
    finally:
        outputs.cancel()
        gone.cancel()
