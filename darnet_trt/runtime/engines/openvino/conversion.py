"""Convert ONNX to OpenVINO IR: `model.xml` and `model.bin`, one pair for all CPU precisions."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from darnet_trt.errors import BuildError, OutputError
from darnet_trt.runtime.engines.openvino.package import import_openvino

if TYPE_CHECKING:
    from onnx import ModelProto

# OpenVINO names operators without a name from a counter of the whole process.
_COUNTED_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9]*_\d+")


def build_openvino(graph: ModelProto | Path, folder: Path) -> tuple[Path, Path]:
    """Write `folder/model.xml` and `model.bin`, weights in float32, the same bytes each time.

    The machine that runs the model chooses the precision, when it compiles it.

    Args:
        graph: An ONNX graph of standard operators, or its file.
        folder: Where to; it is made.

    Raises:
        MissingPackageError: OpenVINO is not installed.
        BuildError: OpenVINO cannot convert the graph.
        OSError: The folder cannot be created.
        OutputError: The files cannot be written.
    """
    openvino = import_openvino()
    given = graph if isinstance(graph, Path) else BytesIO(graph.SerializeToString())
    try:
        # Unlike read_model, this folds the constants now and not at every start.
        model = openvino.convert_model(given)
    except RuntimeError as error:
        raise BuildError(f"OpenVINO cannot convert the model ({error})", where=folder) from error
    for index, operator in enumerate(model.get_ordered_ops()):
        if _COUNTED_NAME.fullmatch(operator.get_friendly_name()):
            operator.set_friendly_name(f"{operator.get_type_name()}_{index}")
    folder.mkdir(parents=True, exist_ok=True)
    xml = folder / "model.xml"
    try:
        openvino.save_model(model, xml, compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO does not pass on the system's reason
        raise OutputError(
            f"OpenVINO cannot write its files ({error})",
            where=folder,
            do="check free space and permissions",
        ) from error
    return xml, xml.with_suffix(".bin")
