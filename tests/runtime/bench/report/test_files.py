import csv
import json
import xml.etree.ElementTree as ET
from io import BytesIO

import pytest
from PIL import Image

from darnet_trt.runtime.bench.report.files import samples, write
from darnet_trt.runtime.bench.report.markdown import markdown
from tests.runtime.bench.report.reports import report, steady, trace

pytest.importorskip("matplotlib")


def test_every_query_is_in_the_samples():
    found = list(csv.DictReader(samples({"a": trace("a", [20.0, 21.0])}).splitlines()))
    assert [row["phase"] for row in found] == ["warm-up", "measured", "measured"]
    took = [int(row["done_ns"]) - int(row["due_ns"]) for row in found[1:]]
    assert took == [20_000_000, 21_000_000]
    assert {row["configuration"] for row in found} == {"a"}


def test_the_folder(tmp_path):
    one = trace("a", steady(20))
    write(tmp_path, report(one), {"a": one})
    names = {"report.json", "report.md", "samples.csv", "latency.png", "latency.svg"}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert json.loads((tmp_path / "report.json").read_text())["interrupted"] is False
    assert Image.open(BytesIO((tmp_path / "latency.png").read_bytes())).width > 600
    assert ET.fromstring((tmp_path / "latency.svg").read_text()).tag.endswith("svg")


def test_a_busy_machine_is_named_in_every_plot(tmp_path):
    traces = [trace(f"a batch {n}", steady(20 * n), scans=n) for n in (1, 2)]
    write(tmp_path, report(*traces, doubts=("load 9",)), {one.subject: one for one in traces})
    pictures = [file.read_text() for file in tmp_path.glob("*.svg")]
    assert len(pictures) == 2
    assert all("do not trust the figures" in picture for picture in pictures)


def test_batches_add_a_plot_of_the_throughput(tmp_path):
    traces = [trace(f"a batch {n}", steady(20 * n), scans=n) for n in (1, 2)]
    write(tmp_path, report(*traces), {one.subject: one for one in traces})
    assert {"throughput.png", "throughput.svg"} < {file.name for file in tmp_path.iterdir()}


def test_few_far_and_drifting_configurations_are_drawn(tmp_path):
    drifting = [value * (1 + index / 100) for index, value in enumerate(steady(900))]
    traces = [trace("$a", [20.0]), trace("b", drifting), trace("c", [])]
    write(tmp_path, report(*traces), {one.subject: one for one in traces})
    assert (tmp_path / "latency.svg").stat().st_size > 1000


def test_markdown_is_one_block_of_tables_with_the_command():
    drifting = [value * (1 + index / 600) for index, value in enumerate(steady(20))]
    text = markdown(report(trace("a|b", drifting), trace("b", steady(20))))
    assert text.startswith("    darnet-trt bench bundle\n\n")
    assert "| b | fp32 | " in text
    assert r"a\|b" in text
    assert r"\* the median drifts" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3  # the last one: what else the machine did
    for table in tables:
        assert len({line.replace(r"\|", "").count("|") for line in table.splitlines()}) == 1
