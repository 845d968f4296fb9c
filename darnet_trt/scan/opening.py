"""What the system says about a file that cannot be opened or read, as a scan's error."""

from __future__ import annotations

from pathlib import Path

from darnet_trt.errors import UnreadableScanError

__all__ = ["cannot_open", "cannot_read"]


def cannot_open(path: Path, error: OSError) -> UnreadableScanError:
    """Return the error for a file or folder that does not open."""
    return UnreadableScanError(
        f"cannot be opened ({error.strerror})", where=path, do="check its permissions"
    )


def cannot_read(path: Path, error: BaseException) -> UnreadableScanError:
    """Return the error for a file that opens but whose content is damaged."""
    reason = getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__
    return UnreadableScanError(f"cannot be read ({reason})", where=path, do="copy it again")
