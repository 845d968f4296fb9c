"""Every error that the toolkit raises on purpose.

```
DarnetError
├── UsageError             a path, option or combination that cannot work
├── MissingPackageError    an optional package, or a part of it, is missing; names the extra
├── ScanError              a scan cannot be classified
│   ├── UnreadableScanError    broken, truncated or in no known format
│   └── RefusedScanError       readable, but classifying it would be a guess
├── CheckpointError        a training run or its checkpoint cannot be used
├── TrainingError          a training cannot go on
├── BundleError            a bundle is absent, corrupt, altered or of another schema
├── DeviceError            there is no usable GPU, or it failed
├── BuildError             an engine or the kernels could not be built
│   └── ParityError            an engine was built, but differs too much from the reference
├── OutputError            a result could not be written (disk, permission)
├── BusyError              a service cannot take more work now; says when it can
└── InternalError          an unexpected exception: a defect of the toolkit itself
```

Each says what is wrong, where, and what to do. The command line prints it as one line.
"""

from __future__ import annotations

import copyreg
import os
import traceback
from pathlib import Path
from typing import Any, Self

_PACKAGE = Path(__file__).parent


def one_line(text: str) -> str:
    """Return `text` on one line: white space and control characters become single spaces.

    File names and DICOM headers may hold line breaks, escape sequences and bytes that are not
    UTF-8. None of these may reach a terminal.
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def counted(count: int, one: str, many: str = "") -> str:
    """Return "1 study", "2,000 studies"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


class Finding(str):
    """Say what was found about a scan or an engine: a sentence, and a code that stays the same.

    It compares, joins and prints as its sentence; in JSON it is `{"code": …, "text": …}`.

    Args:
        code: For programs, lower case with hyphens: "tilted", "not-a-chest".
            `docs/scans.md` lists the codes of scans.
        text: For people, one clause without a full stop.
    """

    code: str

    def __new__(cls, code: str, text: str) -> Self:
        """Return the sentence with its code."""
        finding = super().__new__(cls, text)
        finding.code = code
        return finding

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """Keep the code when pickled."""
        return (self.code, str(self))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """Describe both parts."""
        described = handler(schema)
        described["properties"]["code"]["description"] = "For programs: stays the same."
        described["properties"]["text"]["description"] = "For people."
        return described

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Read and write JSON as an object of code and text."""
        from pydantic_core import core_schema

        field = core_schema.typed_dict_field(core_schema.str_schema())
        parts = core_schema.typed_dict_schema({"code": field, "text": field})
        from_json = core_schema.no_info_after_validator_function(lambda d: cls(**d), parts)
        return core_schema.json_or_python_schema(
            from_json,
            core_schema.union_schema([core_schema.is_instance_schema(cls), from_json]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda finding: {"code": finding.code, "text": str(finding)}, return_schema=parts
            ),
        )


class DarnetError(Exception):
    """Base of the tree.

    Args:
        what: What is wrong, one clause without a full stop; with a code where it is about a scan.
        where: The file, folder or option that is wrong.
        do: What the user can do.

    Attributes:
        code: Of `what`; empty where it has none.
    """

    def __init__(
        self, what: str, *, where: str | os.PathLike[str] | None = None, do: str | None = None
    ) -> None:
        self.what = what
        self.code = what.code if isinstance(what, Finding) else ""
        self.where = None if where is None else os.fspath(where)
        self.do = do
        super().__init__(what)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling `__init__`, whose arguments differ."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f"; {self.do}" if self.do else ""
        return one_line(f"{place}{self.what}{remedy}")


class UsageError(DarnetError):
    """A path, option or combination that cannot work."""


class MissingPackageError(DarnetError):
    """An optional package, or a part of it, is not installed.

    Args:
        package: The import name.
        extra: The extra of darnet-trt that installs it.
        what: What is wrong; None: it is not installed.
        do: What the user can do; None: install the extra.
    """

    def __init__(
        self, package: str, *, extra: str, what: str | None = None, do: str | None = None
    ) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            what or f"the package {package} is not installed",
            do=do or f"pip install 'darnet-trt[{extra}]'",
        )


class ScanError(DarnetError):
    """A scan cannot be classified.

    Args:
        what: What is wrong, with its code.
        where: The file or folder that is wrong.
        do: What the user can do.
    """

    def __init__(
        self, what: Finding, *, where: str | os.PathLike[str] | None = None, do: str | None = None
    ) -> None:
        self.what: Finding = what
        super().__init__(what, where=where, do=do)


class UnreadableScanError(ScanError):
    """A scan is broken, truncated or in no known format."""


class RefusedScanError(ScanError):
    """A scan is readable, but classifying it would be a guess."""


class CheckpointError(DarnetError):
    """A training run or its checkpoint cannot be used."""


class TrainingError(DarnetError):
    """A training cannot go on: its numbers ran away, an input is gone, a process has ended."""


class BundleError(DarnetError):
    """A bundle is absent, corrupt, altered or of another schema."""


class DeviceError(DarnetError):
    """There is no usable GPU, or it failed."""


class BuildError(DarnetError):
    """An engine or the kernels' library could not be built."""


class ParityError(BuildError):
    """An engine was built, but differs too much from the reference."""


class OutputError(DarnetError):
    """A result could not be written (disk full, no permission)."""


class BusyError(DarnetError):
    """A service cannot take more work now.

    Args:
        what: What it has too much of, or too little.
        retry_after_s: After how many seconds it is worth another try.
        ticket: Shown with the next try, it takes the place that is kept for it; empty: none is.
    """

    def __init__(self, what: str, *, retry_after_s: float, ticket: str = "") -> None:
        self.retry_after_s, self.ticket = retry_after_s, ticket
        super().__init__(what, do=f"try again in {retry_after_s:.1f} s")


class InternalError(DarnetError):
    """An unexpected exception: a defect of the toolkit itself.

    Args:
        error: The exception, caught; it was raised in this package or in a library it calls.
        where: The scan that it concerns.
    """

    def __init__(self, error: Exception, *, where: Path | None = None) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
        last = (ours or frames)[-1:]  # a library may call us back, and fail by itself
        place = "".join(f" in {Path(frame.filename).name}:{frame.lineno}" for frame in last)
        kind = type(error).__name__
        what = Finding("internal-error", f"internal error: {kind}{place}: {error}")
        super().__init__(what, where=where, do="please report it")


def no_such_path(where: str | os.PathLike[str]) -> UsageError:
    """Return the error for a path where nothing is."""
    return UsageError(Finding("no-such-path", "no such file or folder"), where=where)


def cannot_open(path: Path, error: OSError) -> UnreadableScanError:
    """Return the error for a file or folder that does not open."""
    return UnreadableScanError(
        Finding("cannot-open", f"cannot be opened ({error.strerror})"),
        where=path,
        do="check its path and its permissions",
    )


def cannot_read(path: Path, error: BaseException) -> UnreadableScanError:
    """Return the error for a file whose content is damaged, or that its disk does not give.

    An error with a number is the system's: the file or its disk has gone. Libraries raise OSError
    for damaged content, too, without a number.
    """
    reason = getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__
    what = f"cannot be read ({reason})"
    if isinstance(error, OSError) and error.errno is not None:
        return UnreadableScanError(Finding("disk-error", what), where=path, do="check its disk")
    return UnreadableScanError(Finding("cannot-read", what), where=path, do="copy it again")
