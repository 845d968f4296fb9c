"""What TensorRT and its plugins complain of, kept for the error that it explains.

TensorRT calls tell only that they failed. Why goes to an `IErrorRecorder` where an object has one,
to the `ILogger` otherwise; a plugin has no other way than the recorder.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from darnet_trt.errors import one_line

__all__ = ["Messages"]

_KEPT: Final = 4  # a plugin's line, TensorRT's own about the failed call, and what that entails


class Messages:
    """The last errors of one runtime and all that was made with it.

    Args:
        trt: The package.

    Attributes:
        logger: For `trt.Runtime`.
        recorder: To be set as `error_recorder`.
    """

    def __init__(self, trt: Any) -> None:
        self._said: deque[str] = deque(maxlen=_KEPT)
        self.logger: Any = _logger(trt, self._said)
        self.recorder: Any = _recorder(trt, self._said)

    def told(self) -> str:
        """What came since this was asked last, the oldest first; empty for nothing."""
        said = " | ".join(self._said)
        self._said.clear()
        self.recorder.clear()
        return said

    def reason(self) -> str:
        """The same, for an error's text."""
        return self.told() or "without a reason"


def _logger(trt: Any, said: deque[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps errors, drops the rest."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(one_line(message))

    return Logger()


def _recorder(trt: Any, said: deque[str]) -> Any:
    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        """As documented at `nvinfer1::IErrorRecorder`, for as many errors as there are."""

        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self._errors: list[tuple[Any, str]] = []

        def report_error(self, code: Any, description: str) -> bool:
            said.append(one_line(description))
            self._errors.append((code, description))
            return True  # it ends the call that reports it

        def get_num_errors(self) -> int:  # TensorRT calls this name, its documentation the other
            return len(self._errors)

        num_errors = get_num_errors

        def get_error_code(self, index: int) -> Any:
            return self._errors[index][0]

        def get_error_desc(self, index: int) -> str:
            return self._errors[index][1]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self._errors.clear()

    return Recorder()
