"""Parse requests of the Open Inference Protocol v2 for the network, and encode its answers.

Nothing here waits, reads or sends. Sources: the protocol
(https://github.com/kserve/open-inference-protocol, inference_rest.md), and Triton's binary tensor
data extension (https://github.com/triton-inference-server/server, extension_binary_data.md).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from darnet_trt.bundle.cam import cam_size
from darnet_trt.bundle.manifest import Manifest
from darnet_trt.errors import UsageError, one_line
from darnet_trt.evaluation.temperature import calibrated
from darnet_trt.runtime.engines.runner import Outputs

NAME: Final = "darnet"
VERSION: Final = "1"
INPUT: Final = "volume"
BY_DEFAULT: Final = ("logits", "probabilities")
"""Given where a request names no outputs; the map is large."""
LARGEST_HEADER: Final = 1 << 16
"""Bytes of JSON beside the numbers; a usual request has 300."""
LONGEST_NUMBER: Final = 32
"""Characters of a number in JSON, with the white space around it; the longest double has 24."""
_ITEM: Final = 4  # bytes of a float32
_SLACK: Final = 0.01  # what rounding to a byte or to float16 may put beyond 0 and 1

Volumes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """What a request must fit.

    Attributes:
        classes: Number of logits.
        size: Depth, height and width of the input.
        most: Most volumes of one request.
        features: Number of pooled features; 0: a bundle of an older version, whose engines give
            none.
    """

    classes: int
    size: tuple[int, int, int]
    most: int
    features: int = 0

    @classmethod
    def of(cls, manifest: Manifest, most: int) -> Model:
        """Return what the engines of a bundle take."""
        size, features = manifest.preprocessing.size, manifest.model.features
        return cls(len(manifest.classes), size, most, features)

    @property
    def volume_bytes(self) -> int:
        """Return the bytes of one volume."""
        return _ITEM * math.prod(self.size)

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Return the shape of each output; -1 is the batch."""
        cam = [-1, self.classes, *cam_size(self.size)]
        classes = [-1, self.classes]
        shapes = {"logits": classes, "probabilities": classes, "cam": cam}
        return {**shapes, "features": [-1, self.features]} if self.features else shapes


class Tensor(BaseModel):
    """A tensor of a request."""

    model_config = ConfigDict(strict=True)
    name: str
    """Its name: "volume"."""
    shape: list[int]
    """[n, 1, depth, height, width]."""
    datatype: str
    """FP32, and nothing else."""
    parameters: dict[str, bool | int | float | str] = {}
    """binary_data_size: its bytes after the JSON."""
    data: Any = None
    """Its numbers, flat or nested, row-major; absent where they follow the JSON."""


class WantedOutput(BaseModel):
    """An output that is asked for."""

    model_config = ConfigDict(strict=True)
    name: str
    """logits, probabilities, cam or features."""
    parameters: dict[str, bool | int | float | str] = {}
    """binary_data: whether it follows the JSON as bytes."""


class InferBody(BaseModel):
    """A request to infer."""

    model_config = ConfigDict(strict=True)
    id: str = ""
    """Given back with the answer."""
    parameters: dict[str, bool | int | float | str] = {}
    """timeout: µs in which the answer is worth something. binary_data_output: whether all outputs
    follow the JSON as bytes."""
    inputs: list[Tensor]
    """One tensor."""
    outputs: list[WantedOutput] = []
    """Absent: the logits and the probabilities."""


@dataclass(frozen=True, eq=False)
class Request:
    """A request to infer, without the bytes of its volumes.

    Attributes:
        volumes: How many.
        id: Given back with the answer.
        timeout_s: In which the answer is worth something; None: however late.
        outputs: Name → whether it is given as bytes.
        data: The volumes where the JSON holds them (n, 1, d, h, w); None: they follow it.
    """

    volumes: int
    id: str = ""
    timeout_s: float | None = None
    outputs: tuple[tuple[str, bool], ...] = tuple((name, False) for name in BY_DEFAULT)
    data: Volumes | None = None


def raw_request(length: int, model: Model) -> Request:
    """Return the request of a body that is a tensor and nothing else, which is answered in bytes.

    Raises:
        UsageError: Its bytes are not those of whole volumes.
    """
    volumes, rest = divmod(length, model.volume_bytes)
    if rest or not 1 <= volumes <= model.most:
        raise UsageError(
            f"the raw tensor has {length:,} bytes, expected 1 to {model.most} volumes of "
            f"{model.volume_bytes:,} bytes"
        )
    return Request(volumes, outputs=tuple((name, True) for name in BY_DEFAULT))


def parse_request(text: bytes | bytearray | memoryview, model: Model, *, binary: bool) -> Request:
    """Parse the JSON of a request.

    Args:
        text: The JSON; with `binary` not longer than `LARGEST_HEADER`.
        model: What it must fit.
        binary: Whether the volumes follow the JSON as bytes.

    Raises:
        UsageError: It is malformed, or does not fit the model.
    """
    text = bytes(text)
    # Objects of Python take some 30 times the bytes of their JSON: count them before they are made.
    volumes = 0 if binary else model.most
    items = sum(text.count(mark) for mark in (b",", b"[", b"{", b":"))
    d, h, _ = model.size
    if items > volumes * (math.prod(model.size) + d * (h + 1) + 2) + LARGEST_HEADER:
        raise UsageError(f"the JSON holds {items:,} values, more than {model.most} volumes")
    try:
        body = InferBody.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(f"the request is malformed: {first_fault(error)}") from None
    if len(body.inputs) != 1:
        raise UsageError(f"the request has {len(body.inputs)} inputs, expected one: {INPUT}")
    tensor = body.inputs[0]
    count = _volumes(tensor, model)
    if not binary and "binary_data_size" in tensor.parameters:
        raise UsageError(
            "the input has a binary_data_size, and no bytes follow the JSON",
            do="give the JSON's length in the header Inference-Header-Content-Length",
        )
    if binary:
        _check_bytes(tensor, count * model.volume_bytes)
    return Request(
        volumes=count,
        id=body.id,
        timeout_s=_timeout(body.parameters.get("timeout")),
        outputs=_wanted(body, model),
        data=None if binary else numbers(tensor.data, (count, 1, *model.size)),
    )


def first_fault(error: ValidationError) -> str:
    """Return the place and the reason of the first fault that pydantic found."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in fault["loc"])
    text = fault["msg"][0].lower() + fault["msg"][1:]
    return one_line(f"{place.lstrip('.')[:80]}: {text}" if place else text)[:300]


def _volumes(tensor: Tensor, model: Model) -> int:
    if tensor.name != INPUT:
        raise UsageError(f"there is no input {_quoted(tensor.name)}, only {INPUT}")
    if tensor.datatype != "FP32":
        raise UsageError(f"the input's datatype is {_quoted(tensor.datatype)}, expected FP32")
    most = f"n from 1 to {model.most}" if model.most > 1 else "n = 1"
    if tensor.shape[1:] != [1, *model.size] or not 1 <= tensor.shape[0] <= model.most:
        raise UsageError(
            f"the input's shape is {one_line(str(tensor.shape[:8]))[:100]}, expected "
            f"{['n', 1, *model.size]} with {most}".replace("'", "")
        )
    if any(name.startswith("shared_memory") for name in tensor.parameters):
        raise UsageError("the input is in shared memory, which this service does not read")
    return tensor.shape[0]


def _check_bytes(tensor: Tensor, expected: int) -> None:
    size = tensor.parameters.get("binary_data_size")
    if tensor.data is not None:
        raise UsageError("the input has data in the JSON, and bytes follow it: give one of them")
    if type(size) is not int or size != expected:
        raise UsageError(
            f"the input's binary_data_size is {_quoted(size)}, its shape takes {expected:,} bytes"
        )


def _timeout(value: bool | int | float | str | None) -> float | None:
    """Return a timeout of µs in seconds; 0 is none, as in Triton."""
    if value is None or (value == 0 and type(value) is int):
        return None
    if type(value) is not int or not 0 < value < 1 << 63:
        raise UsageError(f"the timeout is {_quoted(value)}, expected a whole number of µs")
    return value / 1e6


def _wanted(body: InferBody, model: Model) -> tuple[tuple[str, bool], ...]:
    binary = _flag(body.parameters, "binary_data_output", default=False)
    wanted: dict[str, bool] = {}
    for output in body.outputs:
        if output.name not in model.shapes:
            known = ", ".join(model.shapes)
            raise UsageError(f"there is no output {_quoted(output.name)}, only {known}")
        if output.name in wanted:
            raise UsageError(f"the output {output.name} is asked for twice")
        for unknown in ("classification", "shared_memory_region"):
            if output.parameters.get(unknown):
                raise UsageError(f"the output {output.name} cannot be given as {unknown}")
        wanted[output.name] = _flag(output.parameters, "binary_data", default=binary)
    return tuple(wanted.items()) or tuple((name, binary) for name in BY_DEFAULT)


def _flag(parameters: dict[str, bool | int | float | str], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise UsageError(f"{name} is {_quoted(value)}, expected true or false")
    return value


def _quoted(value: object) -> str:
    """Return what a caller sent as it may stand in an error."""
    return one_line(repr(value))[:80]


def numbers(data: Any, shape: tuple[int, ...]) -> Volumes:
    """Return numbers of JSON as float32 of a shape.

    Args:
        data: A list, flat or nested as the shape.
        shape: The shape.

    Raises:
        UsageError: Others, more or fewer are there.
    """
    if type(data) is not list:
        raise UsageError("the input has no data", do="give a list of numbers")
    level = data
    if level and type(level[0]) is list:
        if len(level) != shape[0]:
            raise _wrong_size(shape)
        for size in shape[1:]:
            if any(type(part) is not list or len(part) != size for part in level):
                raise _wrong_size(shape)
            level = list(itertools.chain.from_iterable(level))
    if len(level) != math.prod(shape):
        raise _wrong_size(shape)
    if others := set(map(type, level)) - {float, int}:
        names = {list: "a list", dict: "an object", str: "a string", bool: "true or false"}
        found = names.get(others.pop(), "null")
        raise UsageError(f"the input's data hold {found}, expected numbers")
    try:
        with np.errstate(all="ignore"):
            return np.array(level, np.float32).reshape(shape)
    except OverflowError:  # a whole number of more than 308 digits
        raise UsageError("the input's data hold a number beyond float32") from None


def _wrong_size(shape: tuple[int, ...]) -> UsageError:
    return UsageError(
        f"the input's data are not {math.prod(shape):,} numbers, flat or nested as {list(shape)}"
    )


def check_values(volumes: Volumes) -> None:
    """Check that the numbers can be a network's input, which lies between 0 and 1.

    Hounsfield units would get a class with a high probability, and a single NaN makes all outputs
    NaN.

    Raises:
        UsageError: A number is NaN, or outside.
    """
    least, most = float(volumes.min()), float(volumes.max())
    if math.isnan(least):
        raise UsageError("the input holds NaN")
    if least < -_SLACK or most > 1 + _SLACK:
        raise UsageError(
            f"the input holds numbers from {least:g} to {most:g}, and the network takes 0 to 1",
            do="make it of Hounsfield units by the bundle's preprocessing",
        )


def encode_answer(
    request: Request, outputs: Outputs, temperature: float
) -> tuple[bytes, list[npt.NDArray[np.float32]]]:
    """Return the JSON of an answer, and the arrays whose bytes follow it.

    Args:
        request: What is asked for.
        outputs: The network's.
        temperature: What calibrates the probabilities: `ModelCard.temperature`.

    Raises:
        UsageError: The network's outputs are not finite for this input.
    """
    if not outputs.finite.all():
        raise UsageError("the network's outputs overflow for this input", do="scale it to 0 … 1")
    found: dict[str, npt.NDArray[np.float32] | None] = {
        "logits": outputs.logits,
        "probabilities": calibrated(outputs.logits, temperature).astype(np.float32),
        "cam": outputs.cam,
        "features": outputs.features,
    }
    described, arrays = [], []
    for name, binary in request.outputs:
        array = np.ascontiguousarray(found[name], "<f4")
        tensor: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": array.shape}
        if binary:
            tensor["parameters"] = {"binary_data_size": array.nbytes}
            arrays.append(array)
        else:
            tensor["data"] = array.ravel().tolist()
        described.append(tensor)
    answer: dict[str, Any] = {"model_name": NAME, "model_version": VERSION}
    if request.id:
        answer["id"] = request.id
    return to_json({**answer, "outputs": described}), arrays
