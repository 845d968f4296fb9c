"""A store and its studies as a process of its own, that may be killed: BUNDLE STATE [STEP].

It takes names of files on stdin, and says which it has acknowledged. With a step it kills itself
when it comes to that one.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.serving.studies.evidence import KeptEvidence
from darnet_trt.runtime.serving.studies.ledger import Ledgers
from darnet_trt.runtime.serving.studies.sending import Sending
from tests.runtime.serving.studies.service import running

STEPS: dict[str, tuple[Any, str]] = {
    "before the result": (ResultFolder, "add"),
    "before the evidence": (KeptEvidence, "write"),
    "before the ledger": (Ledgers, "write"),
    "before it is sent": (Sending, "add"),
    "before the old one is dropped": (Sending, "drop"),
}


def die(*arguments: Any, **more: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    bundle, state, *step = sys.argv[1:]
    if step:
        owner, name = STEPS[step[0]]
        setattr(owner, name, die)
    with running(Path(bundle), Path(state), quiet_s=0.3, objects=("sr", "refusal")) as made:
        print("ready", flush=True)
        for line in sys.stdin:
            made.send(Path(line.rstrip("\n")))
            print(line, end="", flush=True)
        made.wait_all()


if __name__ == "__main__":
    main()
