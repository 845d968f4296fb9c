"""Keep a plan's table of layers beside the plan, and read it again: only its GPU loads the plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.reading import Bundle, verified_file
from darnet_trt.errors import BundleError
from darnet_trt.export.tensorrt.layer_table import Layer, Tensor, bytes_of, type_of

COLUMNS: Final = ("layer", "kind", "in", "out", "kB in", "kB weights", "kB out")

_ENDING: Final = ".layers.json"
_LAYERS: Final = TypeAdapter(tuple[Layer, ...])


def write_table(plan: Path, layers: Sequence[Layer]) -> tuple[Path, ...]:
    """Write the table, and return its file; none if the builder printed no table.

    Raises:
        OSError: It cannot be written.
    """
    if not layers:
        return ()
    file = plan.with_suffix(_ENDING)
    file.write_bytes(_LAYERS.dump_json(tuple(layers)) + b"\n")
    return (file,)


def read_table(bundle: Bundle, plan: Artifact) -> tuple[Layer, ...]:
    """Return the layers of a plan; none if the bundle has no table of it.

    Raises:
        BundleError: The table is damaged.
    """
    name = next((name for name in plan.files if name.endswith(_ENDING)), None)
    if name is None:
        return ()
    file = verified_file(bundle, name)
    try:
        return _LAYERS.validate_json(file.read_bytes())
    except ValidationError as error:
        raise BundleError(
            "this is no table of a plan's layers", where=file, do="build the bundle again"
        ) from error


def row(layer: Layer) -> tuple[str, ...]:
    """Return the cells under `COLUMNS`."""
    parts = (layer.inputs, layer.constants, layer.outputs)
    return (
        layer.name,
        layer.kind,
        *(_types(tensors) for tensors in (layer.inputs, layer.outputs)),
        *(_kilobytes(tensors) for tensors in parts),
    )


def _types(tensors: Sequence[Tensor]) -> str:
    return ", ".join(dict.fromkeys(type_of(name) for _, name in tensors)) or "-"


def _kilobytes(tensors: Sequence[Tensor]) -> str:
    """Return "-" where the batch is open or the size of a type is not known."""
    size = bytes_of(tensors)
    return "-" if size is None else f"{size / 1e3:,.1f}"
