"""What bounds the way to the input, and how it is told, from rounds of known costs."""

from dataclasses import replace

import pytest

from darnet_trt.runtime.bench.file_to_result.reading import table
from darnet_trt.runtime.bench.file_to_result.reading.building import reading
from darnet_trt.runtime.bench.file_to_result.reading.cost import Cost
from darnet_trt.runtime.bench.file_to_result.reading.once import EncodedSlices, Round
from darnet_trt.runtime.bench.report.table import tables
from tests.runtime.bench.report.reports import report, steady, trace

JPEG_2000 = "JPEG 2000 lossless"


def a_round(headers=(20, 20), decoding=(900, 1800), preprocessing=(80, 80), from_disk_mb=0.0):
    costs = [Cost(*one, read_mb=30) for one in (headers, decoding, preprocessing)]
    whole = Cost(sum(one.ms for one in costs), sum(one.cpu_ms for one in costs), 90, from_disk_mb)
    return Round(
        300, 1, 300, 64, 22, 2, 123.0, *costs, whole,
        {JPEG_2000: EncodedSlices(300, 64, 512 * 512, Cost(800, 1600))}, (JPEG_2000,),
    )  # fmt: skip


def test_the_stage_that_takes_most_is_named():
    found = reading([a_round()] * 7, [])
    assert (found.warm.bound, round(found.warm.bound_percent)) == ("decoding", 90)
    warm, cold = table.bounds(found)
    assert (
        warm
        == "bound by decoding JPEG 2000 lossless: 90 % of the time; 64 of 300 slices are decoded"
    )
    assert cold.startswith("cold: not measurable here")
    found = reading([a_round(headers=(2000, 2000))] * 7, [])
    assert table.bounds(found)[0] == "bound by the headers: 67 % of the time; 300 files"
    found = reading([a_round(preprocessing=(2000, 2000))] * 7, [])
    assert found.warm.bound == "preprocessing"


def test_waiting_is_for_the_disk_where_the_files_came_from_it():
    cold = a_round(headers=(3000, 100), decoding=(1500, 900), from_disk_mb=80)
    found = reading([a_round()], [cold] * 3)
    assert found.cold.bound == "disk"
    assert table.bounds(found)[1] == "cold: the disk: 76 % of the time; 80.0 MB came from it"
    busy = a_round(headers=(3000, 20), decoding=(1500, 900))  # waits as long without the disk
    assert reading([busy], [cold] * 3).cold.bound == "waiting"
    waits = replace(cold, whole=cold.whole._replace(from_disk_mb=0.0))
    assert reading([waits], []).warm.bound == "waiting"


def test_medians_and_intervals_of_each_stage():
    rounds = [a_round(headers=(20 + n, 20)) for n in range(7)]
    headers = reading(rounds, []).warm.headers
    assert (headers.ms, headers.cpu_ms, headers.read_mb) == (23, 20, 30)
    assert headers.low_ms < 23 < headers.high_ms
    assert headers.samples_ms == (20, 21, 22, 23, 24, 25, 26)
    assert reading(rounds[:3], []).warm.headers.low_ms is None


def test_the_speed_of_decoding_counts_pixels_of_16_bits():
    (encoding,) = reading([a_round()], []).encodings
    assert encoding.mb_per_s == pytest.approx(64 * 512 * 512 * 2 / 1e6 / 0.8)


def test_what_the_system_does_not_tell_is_null():
    unread = replace(a_round(), whole=Cost(1000, 1900, float("nan"), float("nan")))
    found = reading([unread], [])
    assert (found.warm.whole.read_mb, found.warm.whole.from_disk_mb) == (None, None)


def test_the_tables_have_a_row_for_each_stage_and_encoding_and_fit_on_80_columns():
    cold = a_round(decoding=(1500, 1800), from_disk_mb=80)
    found = reading([a_round(decoding=(900 + n, 1800)) for n in range(9)], [cold] * 3)
    whole = report(trace("a", steady(20)), scan="/scan", reading=found)
    made = {one.titles[0]: one for one in tables(whole)}
    stages, encodings = made["to the input"], made["decoding alone"]
    assert [row[0] for row in stages.rows] == ["headers", "decoding", "preprocessing", "whole"]
    assert stages.rows[1][2:] == ("90 %", "1 800", "1 500", "1 800", "0")
    assert stages.rows[3][6] == "80.0"
    assert encodings.rows == ((JPEG_2000, "64 of 300", "800 (800 to 800)", "1 600", "41.9"),)
    for one in (stages, encodings):
        widths = [max(map(len, column)) for column in zip(one.titles, *one.rows, strict=True)]
        assert sum(widths) + 2 * (len(widths) - 1) <= 80
