"""Keep the errors that TensorRT and its plugins report, to explain a failed call.

A failed call of TensorRT returns no reason. The reason goes to an object's `IErrorRecorder` if it
has one, else to the `ILogger`. A plugin can report only to the recorder.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from darnet_trt.errors import one_line

_KEPT: Final = 4  # a plugin's, TensorRT's about the failed call, and those that follow from it


class Messages:
    """The last errors of one runtime and of its engines and contexts.

    Args:
        trt: The package.

    Attributes:
        logger: The logger for `trt.Runtime`.
        recorder: The value for `error_recorder`.
    """

    def __init__(self, trt: Any) -> None:
        self._said: deque[str] = deque(maxlen=_KEPT)
        self.logger: Any = _logger(trt, self._said)
        self.recorder: Any = _recorder(trt, self._said)

    def take(self) -> str:
        """Return the errors since the last call, oldest first; empty for none."""
        said = " | ".join(self._said)
        self._said.clear()
        self.recorder.clear()
        return said

    def reason(self) -> str:
        """Return the same for an error's text."""
        return self.take() or "no reason given"


def _logger(trt: Any, said: deque[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keep errors, drop the rest."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(one_line(message))

    return Logger()


def _recorder(trt: Any, said: deque[str]) -> Any:
    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        """An `nvinfer1::IErrorRecorder` without a limit of errors."""

        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self._errors: list[tuple[Any, str]] = []

        def report_error(self, code: Any, description: str) -> bool:
            said.append(one_line(description))
            self._errors.append((code, description))
            return True  # end the call that reports it

        def get_num_errors(self) -> int:  # TensorRT calls this; its documentation says num_errors
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
