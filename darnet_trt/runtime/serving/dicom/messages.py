"""The messages of an association, put together from their parts, within our limits."""

from __future__ import annotations

import time
from typing import Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from darnet_trt.runtime.serving.dicom.command import StoreRequest, read_store
from darnet_trt.runtime.serving.dicom.limits import (
    LARGEST_MESSAGE,
    LONGEST_COMMAND,
    SLOW_AFTER_S,
    SLOWEST,
)
from darnet_trt.runtime.serving.network.budget import Budget

Values = list[tuple[int, memoryview]]
"""Presentation data values: context, and message control header with a part (PS3.8 9.3.5.1)."""


class Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """pynetdicom's messages; a C-STORE is ours.

    Args:
        assoc: pynetdicom's association.
        budget: Of all associations.
    """

    def __init__(self, assoc: Any, budget: Budget) -> None:
        super().__init__(assoc)
        self.message: Any = None
        self._budget = budget
        self._command = bytearray()
        self._store: StoreRequest | None = None
        self._size, self._began = 0, 0.0

    def begun(self) -> bool:
        """Return whether a part of a message has come, and not all of it."""
        return bool(self._command or self._store or self.message)

    def receive_values(self, values: Values) -> None:
        """Take parts of a message.

        Raises:
            Exception: They break the protocol, or a limit; pynetdicom fails in many ways.
        """
        if not self.begun():
            self._began = time.monotonic()
        size = sum(len(value) for _, value in values)
        took = time.monotonic() - self._began
        if took > SLOW_AFTER_S and self._size < took * SLOWEST:
            raise ValueError("the message comes too slowly")
        if self._size + size > LARGEST_MESSAGE or not self._budget.take(size):
            raise ValueError("the message is too large")
        self._size += size
        for context_id, value in values:
            self._receive(context_id, value)

    def forget(self) -> None:
        """Give back the bytes of a message that was served, or never will be."""
        self._budget.give(self._size)
        self._size = 0

    def _receive(self, context_id: int, value: memoryview) -> None:
        control = value[0]
        if control & 1:
            self._command += value[1:]
            if len(self._command) > LONGEST_COMMAND or self._store or self.message:
                raise ValueError("a command is too long, or within a data set")
            if control & 2:
                command = bytes(self._command)
                self._command.clear()
                self._store = read_store(context_id, command)
                if self._store is None:
                    self.message = DIMSEMessage()
                    self._pass_on(context_id, b"\3" + command)
        elif self._store:
            if context_id != self._store.context_id:
                raise ValueError("a data set is of another context than its command")
            self._store.parts.append(bytes(value[1:]))
            if control & 2:
                self.msg_queue.put((context_id, self._store))
                self._store = None
        elif self.message:
            self._pass_on(context_id, bytes(value))
        else:
            raise ValueError("a data set has no command")

    def _pass_on(self, context_id: int, value: bytes) -> None:
        part = P_DATA()
        part._presentation_data_value_list = [(context_id, value)]
        if self.message.decode_msg(part, self.assoc):
            message, self.message = self.message, None
            self.msg_queue.put((context_id, message.message_to_primitive()))
