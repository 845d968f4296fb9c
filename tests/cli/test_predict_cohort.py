"""`darnet-trt predict` of a cohort that puts slices in order: as `evaluate` reads it."""

import csv
import json

import pytest

from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import read_cohort

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """CC-CCII's cleaned form, with one scan whose slices lie there in disorder."""
    out = tmp_path_factory.mktemp("predict") / "cohort"
    plan = CohortPlan(scans=4, seed=4, format="cc-ccii-cleaned", matrix=48, slices=(30, 34))
    write_cohort(plan, out, processes=1)
    return out


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_join_with_an_evaluation(command, tiny, cohort, tmp_path):
    evaluated = command("evaluate", tiny, cohort / "ct_train.json", "-o", tmp_path / "evaluation")
    assert evaluated.returncode == 0, evaluated.stderr
    out = tmp_path / "results"
    done = command("predict", tiny, cohort, "-o", out, "--workers", 1)
    assert done.returncode == 0, done.stderr
    count = len(read_cohort(cohort).entries)
    said = f"{cohort}: {count} scans of this cohort, which orders the slices of {count}\n"
    assert said in done.stderr
    results = {row["key"]: row for row in rows_of(out / "results.csv")}
    rows = rows_of(tmp_path / "evaluation" / "predictions.csv")
    assert len(rows) == len(results) == count > 2
    for row in rows:
        same = results[row["key"]]
        assert same["scan"] == row["scan"]
        for name in (k for k in row if k.startswith("logit_")):  # inputs are kept as float16
            assert float(row[name]) == pytest.approx(float(same[name]), abs=2e-3)
    again = command("predict", tiny, cohort, "-o", out, "--workers", 1, "--resume")
    assert again.returncode == 0, again.stderr
    assert rows_of(out / "results.csv") == [*results.values()], "nothing is classified again"


def test_a_split_file_names_the_slices_and_their_order(command, tiny, cohort, tmp_path):
    entry = read_cohort(cohort).entries[0]
    most = [*entry.slices[15:], *entry.slices[:14]]  # as no loader would put them
    of_class, patient, scan = entry.scan.parts[-3:]
    split = cohort / "mine.json"
    split.write_text(json.dumps({of_class: {patient: {scan: most}}}))
    out = tmp_path / "results"
    raw = command("predict", tiny, entry.scan, "-o", out, "--workers", 1)
    assert raw.returncode == 0, raw.stderr
    ordered = command("predict", tiny, split, "-o", out, "--workers", 1, "--resume")
    assert ordered.returncode == 0, ordered.stderr
    first, second = rows_of(out / "results.csv")
    assert {first["slices"], second["slices"]} == {
        str(len(most)),
        str(len(list(entry.scan.iterdir()))),
    }
    assert first["logit_normal"] != second["logit_normal"]
    assert first["key"] != second["key"]
    raw = command("predict", tiny, entry.scan, "-o", out, "--workers", 1, "--resume")
    assert (raw.returncode, len(rows_of(out / "results.csv"))) == (0, 2)


def test_what_a_split_file_names_in_vain_fails_by_itself(command, tiny, cohort, tmp_path):
    one, other, *_ = read_cohort(cohort).entries
    names = {}
    for entry, slices in ((one, ["none.png", *one.slices]), (other, [*other.slices])):
        of_class, patient, scan = entry.scan.parts[-3:]
        names.setdefault(of_class, {})[patient] = {scan: slices, "gone": ["0000.png"]}
    (cohort / "vain.json").write_text(json.dumps(names))
    out = tmp_path / "results"
    done = command("predict", tiny, cohort / "vain.json", "-o", out, "--workers", 1)
    assert done.returncode == 1
    found = {row["scan"]: row for row in rows_of(out / "results.csv")}
    assert len(found) == 4
    assert sum(row["status"] == "ok" for row in found.values()) == 1
    assert "none.png" in found["/".join(one.scan.parts[-3:])]["reason"]


@pytest.mark.parametrize("content", ["{}", "no json", '{"NCP": {"1": {"2": ["../a.png"]}}}'])
def test_a_file_that_is_no_split_is_one_line(command, tiny, tmp_path, content):
    (tmp_path / "NCP").mkdir()
    (tmp_path / "notes.json").write_text(content)
    done = command("predict", tiny, tmp_path / "notes.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "notes.json: " in done.stderr


def test_inspect_reads_the_same_slices(command, cohort):
    entries = read_cohort(cohort).entries
    done = command("inspect", cohort, "--headers-only", "--json")
    assert done.returncode == 0, done.stderr
    studies = json.loads(done.stdout)["studies"]
    assert sorted(s["series"][0]["slices"] for s in studies) == sorted(
        len(entry.slices) for entry in entries
    )
