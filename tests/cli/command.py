"""The installed command, as a person runs it."""

import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).with_name("darnet-trt")


def darnet_trt(*arguments):
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )
