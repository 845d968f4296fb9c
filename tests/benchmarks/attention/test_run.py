"""The attention's benchmark: its flow on the host, its tables, its targets, what fails in it."""

import json
import math
import re
import sys
import time

import pytest

from benchmarks.attention import run as attention
from benchmarks.attention.clocks import parsed
from benchmarks.attention.measure import measure, measure_all
from benchmarks.attention.tables import report, share_of_copy, targets
from benchmarks.attention.tail import COPY_UNIT, Tail, copied_bytes, paper
from benchmarks.attention.traffic import KINDS, STAGES, map_bytes
from darnet_trt.kernels.library import PHASES, Problem


class OnTheHost:
    """A turn without a GPU: one pass over the sets, timed by the host."""

    launch_hidden = True

    def __init__(self, run, sets):
        self.run, self.runs = run, sets
        run(0)

    def ms(self):
        started = time.perf_counter()
        for i in range(self.runs):
            self.run(i)
        return (time.perf_counter() - started) * 1e3 / self.runs


def small(kind):
    scale = 0.02 if kind == "int8" else 1.0
    return Problem(
        n=2, d=4, h=6, w=5, c=16, channel_hidden=1, depth_hidden=4, weight_type="float16",
        x_type=kind, residual_type=kind, y_type=kind,
        x_scale=scale, residual_scale=scale, y_scale=scale,
    )  # fmt: skip


def tail_of(library, kind="float16", sets=3):
    p = small(kind)
    return Tail(library, p, "cpu", sets * map_bytes(p) // 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_every_time_and_the_right_result(on_cpu, kind):
    tail = tail_of(on_cpu, kind)
    rivals = {"torch eager": tail.torch(paper)} if kind == "float16" else {}
    row = measure(tail, rivals, 2, OnTheHost)
    assert tail.sets == 3
    assert row["failed"] == {}
    copies = {f"{way} as {what}" for way in ("memcpy", "kernel") for what in ("pool", "apply")}
    assert {"fused", *PHASES, *copies, *rivals} <= set(row["ms"])
    assert all(len(samples) == 2 for samples in row["samples_ms"].values())
    assert row["bytes"]["fused"] == sum(row["bytes"][phase] for phase in PHASES)
    assert row["runs_in_a_turn"]["fused"] == 3


def test_a_copy_copies_what_it_says_in_whole_units(on_cpu):
    tail = tail_of(on_cpu)
    moved = sum(tail.moved.values())
    size = copied_bytes(moved)
    assert 0 <= moved - size < 2 * COPY_UNIT
    assert size % (2 * COPY_UNIT) == 0
    assert tail.of[0].nbytes == tail.to[0].nbytes == size // 2
    for way, copied in (("memcpy", tail.of[1]), ("kernel", ~tail.of[1])):
        tail.to.zero_()
        tail.copies(moved)[way](1)
        assert (tail.to[1] == copied).all()
        assert not tail.to[0].any()


def test_a_rival_that_fails_costs_only_its_own_numbers(on_cpu):
    def broken(*_):
        raise RuntimeError("backend='inductor' raised:\nno triton here\nthirty lines more")

    tail = tail_of(on_cpu)
    rivals = {"torch eager": tail.torch(paper), "torch.compile": tail.torch(broken)}
    row = measure(tail, rivals, 1, OnTheHost)
    reason = "RuntimeError: backend='inductor' raised: no triton here"
    assert row["failed"] == {"torch.compile": reason}
    assert {"fused", "torch eager"} <= set(row["ms"])


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_results_are_no_time(on_cpu, kind):
    tail = tail_of(on_cpu, kind)

    class Idle(OnTheHost):
        def ms(self):
            return 1.0

    row = measure(tail, {}, 1, Idle)
    assert "not written" in row["failed"]["fused"]
    assert "fused" not in row["ms"]
    row = measure(tail, {}, 1, OnTheHost)
    assert "fused" in row["ms"]
    tail.y[-1][0, 2, 3, 1, 5] += 30
    assert "differs from the paper's layers by" in tail.fault()


def test_every_row_is_written_when_it_is_there_whatever_fails(tmp_path):
    cases = [("float16", 1, stage) for stage in STAGES]
    written = []

    def one(p):
        if p.c == 128:
            raise MemoryError("CUDA out of memory")
        return {"ms": {"fused": 0.1}}

    def write(rows):
        attention.write_whole(tmp_path / "a.json", {"rows": rows})
        written.append(len(json.loads((tmp_path / "a.json").read_text())["rows"]))

    rows = measure_all(cases, one, write, 60)
    assert written == [1, 2, 3, 4]
    assert rows[1]["failed"] == {"all": "MemoryError: CUDA out of memory"}
    assert [bool(row["ms"]) for row in rows] == [True, False, True, True]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_rows_that_find_no_time_left_say_so():
    rows = measure_all([("int8", 8, "stage 4")], pytest.fail, lambda _: None, 0)
    assert rows[0]["failed"] == {"all": "no time left within 0 s"}


def row_of(kind, batch, stage, **ms):
    """Made up: what a row that went well would hold."""
    times = {"pool": 1, "apply": 3, "fused": 4, "torch eager": 12, "torch.compile": 6}
    sizes = {"pool": 100, "apply": 300, "fused": 400}
    for phase in ("pool", "apply", "fused"):
        times |= {f"memcpy as {phase}": 0.9 * times[phase], f"kernel as {phase}": times[phase]}
        sizes |= {f"memcpy as {phase}": sizes[phase], f"kernel as {phase}": sizes[phase]}
    if kind == "int8":
        del times["torch eager"], times["torch.compile"]
    times |= ms
    return {
        "type": kind, "batch": batch, "stage": stage, "failed": {}, "bytes": sizes,
        "ms": {name: time for name, time in times.items() if time is not None},
    }  # fmt: skip


def rows_of(batches, **ms):
    return [row_of(k, b, s, **ms) for k in KINDS for b in batches for s in STAGES]


def verdicts(judged):
    return {re.sub(r" \(least.*", "", target["what"]): target["verdict"] for target in judged}


def test_targets_that_are_reached():
    judged = targets(rows_of([1, 4]), [1, 4])
    assert set(verdicts(judged).values()) == {"reached"}
    assert len(judged) == 4 + 2 * 2  # types and stages; batches and rivals
    assert attention.verdict(judged) == 0


def test_the_share_is_of_the_faster_copy():
    row = row_of("float16", 1, "stage 1")
    assert share_of_copy(row, "pool") == pytest.approx(0.9)
    row["ms"]["kernel as pool"] = 0.8
    assert share_of_copy(row, "pool") == pytest.approx(0.8)
    del row["ms"]["memcpy as pool"]
    assert math.isnan(share_of_copy(row, "pool"))


def test_a_target_that_is_missed():
    rows = rows_of([1])
    rows[0]["ms"]["pool"] = 2
    judged = targets(rows, [1])
    assert verdicts(judged)["float16 stage 1: bandwidth / the copy's"] == "missed"
    assert "(least: pool, batch 1)" in judged[0]["what"]
    assert attention.verdict(judged) == 3


def test_what_lacks_a_number_is_not_measured_rather_than_reached():
    rows = rows_of([1, 4])
    rows[0]["ms"] = {}  # float16, batch 1, stage 1
    del rows[7]["ms"]["torch.compile"]  # float16, batch 4, stage 4
    judged = targets(rows, [1, 4])
    assert [what for what, verdict in verdicts(judged).items() if verdict == "not measured"] == [
        "float16 stage 1: bandwidth / the copy's",
        "float16 batch 1, eight blocks: torch eager / fused",
        "float16 batch 1, eight blocks: torch.compile / fused",
        "float16 batch 4, eight blocks: torch.compile / fused",
    ]
    assert attention.verdict(judged) == 4
    rows[4]["ms"]["apply"] = 30  # what is there misses already
    assert verdicts(targets(rows, [1, 4]))["float16 stage 1: bandwidth / the copy's"] == "missed"
    assert {target["verdict"] for target in targets([], [1])} == {"not measured"}


def test_the_report_of_a_part_says_what_is_not_there():
    rows = rows_of([1])
    rows[1] |= {"ms": {}, "failed": {"all": "OutOfMemoryError: CUDA out of memory"}}
    rows[2] |= {"launch_not_hidden": ["pool"], "clocks_mhz": {"sm": 1980, "sm_max": 1980}}
    del rows[0]["ms"]["torch.compile"]
    content = {"gpu": "A GPU", "torch": "2", "rounds": 20, "l2_bytes": 50 << 20, "rows": rows}
    text = report(content | {"targets": targets(rows, [1])})
    lines = text.splitlines()
    assert "| float16 | 1 | stage 2 |" + 11 * " – |" in lines
    assert any(re.match(r"\| float16 \| 1 \| stage 1 \| 1000\.0 \| 3000\.0 \|", s) for s in lines)
    assert "| float16 | 1 | stage 1 | 4000.0 | 12000.0 | – | 3.00 | – | – | – | – |" in lines
    assert "- float16 batch 1 stage 2: all: OutOfMemoryError: CUDA out of memory" in lines
    assert "- float16 batch 1 stage 3: launches may be in the times of pool" in lines
    assert "Clocks just after each row: SM 1980 to 1980 MHz (at most 1980)" in lines
    assert lines[-1] == "targets: 3 reached, 0 missed, 3 not measured"
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {15, 12}  # as wide as their heads


def test_the_report_compares_with_an_earlier_run(tmp_path):
    file = tmp_path / "before.json"
    before = rows_of([1], fused=6)
    del before[1]["ms"]["fused"]
    attention.write_whole(file, {"rows": before})
    content = {
        "gpu": "A GPU", "torch": "2", "rounds": 20, "l2_bytes": 50 << 20, "targets": [],
        "rows": rows_of([1, 4]), "before": attention.rows_before(file),
    }  # fmt: skip
    lines = report(content).splitlines()
    assert "| float16 | 1 | stage 1 | 6000.0 | 4000.0 | 1.50 |" in lines
    assert "| float16 | 1 | stage 2 | – | 4000.0 | – |" in lines
    assert "| float16 | 4 | stage 1 | – | 4000.0 | – |" in lines


def test_clocks_as_nvidia_smi_prints_them():
    assert parsed("345, 3201, 1980, 3201\n") == {
        "sm": 345, "memory": 3201, "sm_max": 1980, "memory_max": 3201,
    }  # fmt: skip
    assert parsed("[N/A], 3201, [N/A], [N/A]") == {"memory": 3201}
    assert parsed("No devices were found\n") == {}


def test_one_set_of_everything_for_each_set_of_maps(on_cpu):
    tail = tail_of(on_cpu, sets=4)
    everything = (tail.x, tail.residual, tail.y, tail.workspace, tail.channel, tail.depth)
    assert {len(each) for each in everything} == {4}
    assert len({t.data_ptr() for gate in tail.depth for t in gate}) == 4 * 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--batch", "1,x"], "error: argument --batch: expected numbers as 1,4,8, found '1,x'"),
        (["--before", "/dev/null"], "attention: /dev/null: holds no measured rows; "),
        (["-o", "/no/such/folder/a.json"], "attention: [Errno 2] No such file or directory: "),
    ],
)
def test_words_that_cannot_be_used(monkeypatch, capsys, words, line):
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    try:
        code = attention.main()
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert line in capsys.readouterr().err.splitlines()[-1]
