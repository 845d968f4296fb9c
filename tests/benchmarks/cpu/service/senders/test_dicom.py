"""The senders note what was acknowledged, and send again what was not."""

import gc
import threading
from collections import Counter

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.sop_class import CTImageStorage

from benchmarks.cpu.service.senders.dicom import send_all, timeline
from benchmarks.cpu.service.senders.studies import make_studies


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of torn sockets
def test_all_is_sent_until_it_is_acknowledged():
    taken, lock = Counter(), threading.Lock()

    def take(event):
        uid = str(event.request.AffectedSOPInstanceUID)
        with lock:
            taken[uid] += 1
            return 0xA700 if sum(taken.values()) % 5 == 0 else 0x0000

    ours = AE()
    ours.add_supported_context(CTImageStorage)
    server = ours.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    studies = make_studies(1, 60)
    line = timeline(studies, seed=1, spread_s=0, late_s=1, twice=0.5)
    try:
        done = send_all(line, server.server_address[1], aborted=0.5, limit_s=60)
    finally:
        server.shutdown()
        for thread in threading.enumerate():
            if isinstance(thread, Association | DULServiceProvider):
                thread.join(60)
        gc.collect()  # here, where the warnings of its sockets are expected
    assert line.ended
    assert set(done.times) == set(studies[0])
    assert done.answers["0xA700"] > 0
    assert done.answers["torn"] > 0
    assert done.times.total() > 60
    assert all(taken[i.sop_uid] >= n for i, n in done.times.items())
