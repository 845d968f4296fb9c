"""Ask several streams at once, and wait for the last: several scans that come together.

MLPerf's multi-stream: a query holds as many samples as there are streams, the next comes when all
of them are answered, and its latency is that of the last sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Self

from darnet_trt.runtime.bench.scenarios.clock import Ask


class MultiStream:
    """The query of a `Subject` that asks all streams at once; close it in the end.

    Args:
        streams: Each answers its part of a query.
    """

    def __init__(self, streams: Sequence[Ask]) -> None:
        self._streams = streams
        self._pool = ThreadPoolExecutor(len(streams))

    def __call__(self) -> None:
        """Answer one query.

        Raises:
            Exception: What a stream raised; the others have answered.
        """
        asked = [self._pool.submit(stream) for stream in self._streams]
        wait(asked)
        for one in asked:
            one.result()

    def close(self) -> None:
        """Wait for the streams, and free their threads."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
