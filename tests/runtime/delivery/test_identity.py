"""The same stored result gives the same objects, whoever makes them."""

import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from darnet_trt.runtime.delivery.identity import uid_of
from tests.runtime.delivery.objects.answers import REFUSED, RESULT, answer, read
from tests.scan.series_factory import chest, only, write_series

ROOT = __file__.rsplit("/tests/", 1)[0]
OTHERS = """
import datetime, hashlib, os, pickle, random, socket, sys, time, uuid

real, time.time = time.time, lambda: real() + 1e8
class Later(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(days=400)
datetime.datetime = Later
for one in pickle.load(open(sys.argv[1], "rb")):
    for kind in ("sr", "pm", "sc") if one.result.status == "ok" else ("refusal",):
        print(hashlib.sha256(one.made((kind,))[kind]).hexdigest())
"""


@pytest.fixture
def answered(tmp_path):
    write_series(tmp_path / "scan", chest(8), FrameOfReferenceUID="1.2.3.9")
    return answer(only(tmp_path / "scan"))


def test_another_process_makes_the_same_bytes(answered, tmp_path):
    refused = replace(answered, result=REFUSED)
    stored = tmp_path / "answers"
    stored.write_bytes(pickle.dumps((answered, refused)))
    here = [*answered.made().values(), *refused.made(("refusal",)).values()]
    other = {"PYTHONHASHSEED": "7", "TZ": "Pacific/Auckland", "PYTHONPATH": ROOT}
    words = [sys.executable, "-c", OTHERS, stored]
    there = subprocess.run(
        words, env=os.environ | other, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == [hashlib.sha256(content).hexdigest() for content in here]


def test_where_a_study_lies_changes_nothing(answered):
    moved = replace(answered, result=RESULT.model_copy(update={"scan": "other/place"}))
    assert moved.made() == answered.made()


@pytest.mark.parametrize(
    "change", ["bundle_sha256", "artifact", "precision", "toolkit", "instances"]
)
def test_another_answer_is_another_object(answered, change):
    if change == "instances":
        fewer = answered.source.instances[1:], answered.source.slices[1:]
        slices = tuple(replace(one, instance=one.instance - 1) for one in fewer[1])
        other = replace(
            answered, source=replace(answered.source, instances=fewer[0], slices=slices)
        )
    else:
        other = replace(answered, result=RESULT.model_copy(update={change: "other"}))
    kinds = ("sr", "pm", "sc", "series of sr")
    uids = {uid_of(kind, one.result, one.source) for one in (answered, other) for kind in kinds}
    assert len(uids) == 8


def test_objects_have_these_uids(answered):
    for kind, content in answered.made().items():
        ds = read(content)
        assert ds.SOPInstanceUID == uid_of(kind, answered.result, answered.source)
        assert ds.SeriesInstanceUID == uid_of(f"series of {kind}", answered.result, answered.source)


def test_every_date_is_the_result_s(answered):
    made = {**answered.made(), **replace(answered, result=REFUSED).made(("refusal",))}
    for content in made.values():
        ds = read(content)
        dates = [e.value for e in ds.iterall() if e.VR in ("DA", "DT") and e.value]
        assert set(dates) == {"20261129"}
        assert b"highdicom" not in content
