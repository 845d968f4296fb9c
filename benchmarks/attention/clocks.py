"""Read the GPU's clocks from nvidia-smi; set nothing."""

from __future__ import annotations

import subprocess

FIELDS = {
    "sm": "clocks.sm",
    "memory": "clocks.mem",
    "sm_max": "clocks.max.sm",
    "memory_max": "clocks.max.mem",
}


def clocks_mhz(gpu: str = "0") -> dict[str, int]:
    """Return MHz now and at most, of the GPU with an index or UUID; empty where unknown."""
    query = f"--query-gpu={','.join(FIELDS.values())}"
    words = ["nvidia-smi", "-i", gpu, query, "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return parsed(said)


def parsed(said: str) -> dict[str, int]:
    """Parse "1980, 3201, 1980, 3201" into names; leave out "[N/A]"."""
    values = [value.strip() for value in said.strip().split(",")]
    return {
        name: int(value) for name, value in zip(FIELDS, values, strict=False) if value.isdigit()
    }
