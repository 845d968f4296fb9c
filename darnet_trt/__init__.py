"""darnet-trt: edge inference for the dual-attention 3D ResNet18 (arXiv 2105.06779).

The names below load on first use (PEP 562), so that `import darnet_trt` costs nothing and never
imports torch. `docs/python.md` shows them at work.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darnet_trt.bundle.manifest import Artifact, Manifest
    from darnet_trt.bundle.reading import Bundle, open_bundle
    from darnet_trt.errors import (
        BundleError,
        DarnetError,
        DeviceError,
        MissingPackageError,
        RefusedScanError,
        ScanError,
        UnreadableScanError,
        UsageError,
    )
    from darnet_trt.runtime.prediction.predict import predict
    from darnet_trt.runtime.prediction.results.result import (
        Evidence,
        Result,
        SeriesUsed,
        StageTimes,
    )
    from darnet_trt.scan.discovery import find_studies
    from darnet_trt.scan.loading.choice import choose
    from darnet_trt.scan.loading.load import LoadedInput, load_input, read_volume
    from darnet_trt.scan.preprocessing import Preprocessing, preprocess
    from darnet_trt.scan.series import Choice, Series, Study, Verdict
    from darnet_trt.scan.volume import Volume

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "Bundle",
    "BundleError",
    "Choice",
    "DarnetError",
    "DeviceError",
    "Evidence",
    "LoadedInput",
    "Manifest",
    "MissingPackageError",
    "Preprocessing",
    "RefusedScanError",
    "Result",
    "ScanError",
    "Series",
    "SeriesUsed",
    "StageTimes",
    "Study",
    "UnreadableScanError",
    "UsageError",
    "Verdict",
    "Volume",
    "choose",
    "find_studies",
    "load_input",
    "open_bundle",
    "predict",
    "preprocess",
    "read_volume",
]

_NAMES_OF = {
    "bundle.manifest": "Artifact Manifest",
    "bundle.reading": "Bundle open_bundle",
    "errors": "BundleError DarnetError DeviceError MissingPackageError RefusedScanError ScanError "
    "UnreadableScanError UsageError",
    "runtime.prediction.predict": "predict",
    "runtime.prediction.results.result": "Evidence Result SeriesUsed StageTimes",
    "scan.loading.choice": "choose",
    "scan.discovery": "find_studies",
    "scan.loading.load": "LoadedInput load_input read_volume",
    "scan.preprocessing": "Preprocessing preprocess",
    "scan.series": "Choice Series Study Verdict",
    "scan.volume": "Volume",
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name from its module the first time that it is used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
