"""`darnet-trt evaluate`, as typed: a run and an engine, what is left out, and what is refused."""

import csv
import json
import re
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from darnet_trt.cli import evaluate_output
from darnet_trt.evaluation.seen import TrainingScans, identity
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan import load_study
from darnet_trt.scan.cohorts import Folds, read_cohort, study_of, write_folds
from darnet_trt.training.checkpoint import save_checkpoint
from tests.export.networks import TINY, trained_like
from tests.tiny_bundle import change_manifest, write_bundle

pytest.importorskip("matplotlib")
PICTURES = {"roc.png", "confusion.png", "reliability.png"}
FILES = {"metrics.json", "predictions.csv", *PICTURES}


def rows_of(table):
    with table.open(newline="") as file:
        return {row["scan"]: row for row in csv.DictReader(file)}


def rewrite(table, change):
    """Rewrite each row of a table; `change` gets the number of the row, and the row."""
    rows = [change(n, row) for n, row in enumerate(rows_of(table).values())]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Seven usable scans, then one that is refused and one that cannot be read."""
    out = tmp_path_factory.mktemp("evaluate") / "cohort"
    plan = CohortPlan(scans=8, seed=5, format="dicom", matrix=48, slices=(30, 30))
    write_cohort(plan, out, processes=1)
    table = out / "cohort.csv"
    refused = out / [*rows_of(table)][-1]
    for file in sorted(refused.glob("*.dcm"))[4:]:
        file.unlink()
    (out / "broken.nii").write_bytes(b"no scan")
    with table.open("a") as file:
        file.write("broken.nii,P0900,normal\r\n")
    return out


@pytest.fixture(scope="module")
def usable(cohort, tmp_path_factory):
    """A table of the seven that can be used."""
    table = tmp_path_factory.mktemp("usable") / "usable.csv"
    shutil.copy(cohort / "cohort.json", table.parent)
    lines = (cohort / "cohort.csv").read_text().splitlines()[:8]
    table.write_text("\n".join([lines[0], *(f"{cohort}/{line}" for line in lines[1:])]))
    return table


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    """A network that the first patient trained, and a copy of another patient's scan."""
    network = trained_like(TINY)
    whole = read_cohort(cohort)
    first, *_, last = (e for e in whole.entries[:7])
    copy = load_study(study_of(last), network.preprocessing, identify=True)[1].hashes
    seen = [identity(whole, first.patient, "", ()), identity(whole, "somebody", "", copy)]
    folder = tmp_path_factory.mktemp("evaluated-run")
    of = {"training_scans": TrainingScans.of(seen), "temperature": 2.0}
    save_checkpoint(replace(network, **of), folder)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Inputs of all tests, so that each scan is read once."""
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """The ends of intervals are tested elsewhere."""
    monkeypatch.setattr(evaluate_output, "DRAWS", 20)


@pytest.fixture
def evaluate(command, inputs, tmp_path):
    def evaluate(network, cohort, *options, out=tmp_path / "out"):
        return command("evaluate", network, cohort, "-o", out, "--inputs", inputs, *options)

    return evaluate


def test_a_run_is_measured_on_what_did_not_train_it(
    command, evaluate, run, cohort, usable, inputs, tmp_path
):
    done = evaluate(run, cohort)
    assert done.returncode == 1, done.stderr  # a scan cannot be read
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    first = read_cohort(cohort).entries[0].patient
    seen = {name for name, row in rows.items() if row["status"] == "seen"}
    expected = {name for name, row in rows.items() if row["patient"] == first}
    assert seen == expected | {[*rows][6]}
    status = [row["status"] for row in rows.values()]
    assert status[-2:] == ["refused", "failed"]
    scans = metrics["scans"]
    assert scans["in_cohort"] == len(rows) == 9
    assert (scans["evaluated"], scans["seen"]) == (status.count("ok"), len(seen))
    assert (scans["refused"], scans["failed"], scans["training_scans_known"]) == (1, 1, True)
    left_out = {one["scan"]: one for one in metrics["left_out"]}
    assert left_out.keys() == {name for name, row in rows.items() if row["status"] != "ok"}
    for name, one in left_out.items():
        assert name in done.stderr
        assert one["reason"]
    right = [row["class"] == row["label"] for row in rows.values() if row["status"] == "ok"]
    assert metrics["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert np.trace(metrics["confusion"]) == sum(right)
    assert f"{np.mean(right):.3f} (" in done.stdout
    assert metrics["network"]["trained_on"].startswith("nothing")
    assert {"log_loss", "calibrated_log_loss"} <= metrics["metrics"].keys()
    check_probabilities(rows)
    for picture in PICTURES:
        Image.open(tmp_path / "out" / picture).verify()
    check_that_it_goes_on(command, run, usable, inputs, rows, tmp_path / "again")
    again = evaluate(run, cohort)
    assert (again.returncode, again.stdout) == (2, "")
    assert "metrics.json" in again.stderr


def test_it_says_what_gave_the_training_cohort_away(evaluate, usable, tmp_path):
    save_checkpoint(replace(trained_like(TINY), shortcuts=("matrix",)), tmp_path / "run")
    done = evaluate(tmp_path / "run", usable)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for said in (done.stderr, metrics["network"]["trained_on"]):
        assert "gives its classes away without the lungs (matrix)" in said


def check_probabilities(rows):
    """The temperature is 2."""
    for row in rows.values():
        logits = [float(row[k]) for k in row if k.startswith("logit_") and row[k]]
        for title, temperature in (("raw_probability_", 1), ("probability_", 2)):
            found = [float(row[k]) for k in row if k.startswith(title) and row[k]]
            odds = np.exp(np.array(logits) / temperature)
            np.testing.assert_allclose(found, odds / odds.sum() if logits else [], atol=2e-5)


def check_that_it_goes_on(command, run, usable, inputs, rows, out):
    shutil.copytree(inputs, out / "inputs")  # where they are without --inputs
    digest = re.compile(r"[0-9a-f]{24}\.[0-9a-f]{16}\.npz")
    cut, changed, *_ = (p for p in (out / "inputs").iterdir() if digest.fullmatch(p.name))
    cut.write_bytes(cut.read_bytes()[:20])  # as a full disk would leave it
    with zipfile.ZipFile(changed) as kept:
        (part,) = kept.infolist()
        logits = kept.read(part)[-4:]
    changed.write_bytes(changed.read_bytes().replace(logits, b"\0\0\0\0"))
    done = command("evaluate", run, usable, "-o", out, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert {p.name for p in out.iterdir()} == FILES, "the inputs are gone"
    again = rows_of(out / "predictions.csv").values()
    assert [r["logit_normal"] for r in again] == [r["logit_normal"] for r in rows.values()][:7]


def test_an_engine_is_measured_and_its_rows_join_with_the_results(
    command, evaluate, run, cohort, usable, tmp_path
):
    bundle = tmp_path / "bundle"
    built = command("build", run, "-o", bundle, "--target", "onnxruntime", "--precision", "fp32")
    assert built.returncode == 0, built.stderr
    done = evaluate(bundle, usable, "--artifact", "onnxruntime-fp32", "--json")
    assert done.returncode == 0
    metrics = json.loads(done.stdout)
    assert metrics["network"]["artifact"] == "onnxruntime-fp32"
    rows = rows_of(tmp_path / "out" / "predictions.csv").values()
    seen = [row["scan"] for row in rows if row["status"] == "seen"]
    assert len(seen) == metrics["scans"]["seen"] >= 2, "the bundle knows what trained it"
    predicted = command("predict", bundle, cohort, "-o", tmp_path / "results", "--workers", 1)
    assert predicted.returncode == 1
    with (tmp_path / "results" / "results.csv").open(newline="") as file:
        results = {row["key"]: row for row in csv.DictReader(file)}
    assert sum(row["status"] == "ok" for row in rows) == metrics["scans"]["evaluated"] > 2
    for row in rows:
        if row["status"] != "ok":
            continue
        same = results[row["key"]]
        assert row["scan"] == str(cohort / same["scan"])
        assert (row["status"], row["class"]) == (same["status"], same["class"])
        names = [k for k in row if k.startswith("probability_")]
        assert [k for k in same if k.startswith("probability_")] == names
        for name in names:  # inputs are kept as float16
            assert float(row[name]) == pytest.approx(float(same[name]), abs=2e-3)


def test_a_side_of_the_table_is_measured_alone(evaluate, run, usable, tmp_path):
    table = tmp_path / "sides.csv"
    shutil.copy(usable, table)
    shutil.copy(usable.with_name("cohort.json"), tmp_path)
    sides = ["test", "held-out", "test", "train"]
    rewrite(table, lambda n, row: {**row, "split": sides[n % 4]})
    for out, options in (("a", ("--side", "held-out")), ("b", ())):
        assert evaluate(run, table, *options, out=tmp_path / out).returncode == 0
        rows = rows_of(tmp_path / out / "predictions.csv").values()
        left_out = [row["status"] == "other-side" for row in rows]
        assert left_out == [n % 4 != 1 if options else n % 4 == 3 for n in range(7)]
    of = {"normal": "held-out"}
    rewrite(table, lambda n, row: {**row, "split": of.get(row["label"], "test")})
    healthy = evaluate(run, table, "--side", "held-out", out=tmp_path / "healthy")
    assert "covid-19 against the rest" in healthy.stdout
    assert "not measured: no usable scan is of the class covid-19" in healthy.stdout
    none = evaluate(run, usable, "--side", "test", out=tmp_path / "c")
    assert none.returncode == 2
    assert "no scan is on the side test" in none.stderr


def test_the_sides_of_a_file_of_folds(evaluate, run, usable, tmp_path):
    cohort = read_cohort(usable)
    patients = list(dict.fromkeys(entry.patient for entry in cohort.entries))
    parts = [frozenset(patients[n::3]) for n in range(3)]
    file = tmp_path / "folds.csv"
    write_folds(Folds(parts[0], (parts[1], parts[2])), cohort, file)
    for out, options, measured in (
        ("test", ("--side", "test"), parts[0]),
        ("held-out", ("--fold", 1, "--side", "held-out"), parts[2]),
        ("both", ("--fold", 1), parts[0] | parts[2]),
    ):
        done = evaluate(run, usable, "--folds", file, *options, out=tmp_path / out)
        assert done.returncode == 0, done.stderr
        rows = rows_of(tmp_path / out / "predictions.csv").values()
        for row in rows:
            assert (row["status"] == "other-side") is (row["patient"] not in measured)
            assert row["fold"] == ("" if row["patient"] in parts[0] else
                                   str(int(row["patient"] in parts[2])))  # fmt: skip
            assert (row["side"] == "test") is (row["patient"] in parts[0])
    table = tmp_path / "table.csv"
    shutil.copy(usable, table)
    shutil.copy(usable.with_name("cohort.json"), tmp_path)
    rewrite(table, lambda n, row: {**row, "fold": patients.index(row["patient"]) % 2})
    done = evaluate(run, table, "--fold", 0, out=tmp_path / "own")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "own" / "predictions.csv").values()
    assert [row["status"] == "other-side" for row in rows] == [row["fold"] == "1" for row in rows]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--folds", "FOLDS"), "--fold N or --side test"),
        (("--folds", "FOLDS", "--side", "held-out"), "--fold N or --side test"),
        (("--folds", "FOLDS", "--fold", 2), "no fold 2"),
        (("--folds", "FOLDS", "--side", "test"), "no scan is on the side test"),
        (("--folds", "absent.csv", "--side", "test"), "absent.csv: cannot be read"),
        (("--folds", "OTHER", "--fold", 0), "unlike this cohort"),
        (("--fold", 0), "the cohort names no folds"),
        (("--side", "val"), "--side"),
    ],
)
def test_sides_that_are_not_there_are_one_line(evaluate, run, usable, tmp_path, options, says):
    cohort = read_cohort(usable)
    patients = list(dict.fromkeys(entry.patient for entry in cohort.entries))
    folds = Folds(frozenset(), (frozenset(patients[::2]), frozenset(patients[1::2])))
    files = {name: tmp_path / f"{name}.csv" for name in ("FOLDS", "OTHER")}
    write_folds(folds, cohort, files["FOLDS"])
    write_folds(folds, replace(cohort, seed=6), files["OTHER"])
    done = evaluate(run, usable, *(files.get(word, word) for word in options))
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_weight_without_a_number_is_named(evaluate, usable, tmp_path):
    network = trained_like(TINY)
    network.state_dict["classifier.bias"][0] = float("nan")
    save_checkpoint(network, tmp_path)
    done = evaluate(tmp_path, usable)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "classifier.bias holds NaN" in done.stderr


def test_what_gives_no_numbers_is_no_measure(evaluate, usable, tmp_path):
    network = trained_like(TINY)
    network.state_dict["classifier.weight"][:] = 3e38
    save_checkpoint(network, tmp_path)
    done = evaluate(tmp_path, usable)
    assert done.returncode == 2
    assert "no scan is left to evaluate: 7 failed" in done.stderr
    assert done.stderr.count("NaN") == 7
    assert "nobody knows" in done.stderr
    assert "predictions.csv" not in done.stderr, "it is not written"


def test_of_many_that_are_left_out_only_a_written_table_names_the_rest(
    evaluate, run, usable, tmp_path
):
    table = tmp_path / "table.csv"
    shutil.copy(usable, table)
    shutil.copy(usable.with_name("cohort.json"), tmp_path)
    for out, kept, names in (("all", None, False), ("six", 4, True)):
        rewrite(table, lambda n, row, kept=kept: {**row, "side": "" if n == kept else "train"})
        done = evaluate(run, table, out=tmp_path / out)
        assert f"left out: {2 - names} more of these" in done.stderr
        assert ("predictions.csv names them" in done.stderr) is names
        assert (tmp_path / out / "predictions.csv").exists() is names


def test_other_classes_are_refused(evaluate, run, cohort, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("scan,patient,label\na.nii,P1,influenza\nb.nii,P2,normal\n")
    done = evaluate(run, table)
    assert (done.returncode, done.stdout) == (2, "")
    line = done.stderr.strip().splitlines()[-1]
    assert "influenza" in line
    assert "--classes" not in line
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_evaluated_is_one_line(evaluate, run, cohort, tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    change_manifest(bundle, training_scans={"file": "gone.npz", "sha256": "0" * 64})
    for network, out, options in (
        (tmp_path, tmp_path / "a", ()),  # neither a run nor a bundle
        (tmp_path / "absent", tmp_path / "a", ()),
        (run, tmp_path / "a", ("--artifact", "openvino-fp32")),
        (run, cohort, ()),
        (run, bundle, ()),
        (bundle, tmp_path / "a", ()),
    ):
        done = evaluate(network, cohort, *options, out=out)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "a" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("state.pt", "the training is not finished"),
        ("runs/both-fold0-seed0/checkpoint.pt", "runs/both-fold0-seed0"),
        ("notes.txt", "is neither a run nor a bundle; name the folder that train or build wrote"),
    ],
)
def test_what_is_no_finished_run_is_told_by_its_kind(evaluate, cohort, tmp_path, file, says):
    network = tmp_path / "network"
    (network / file).parent.mkdir(parents=True)
    (network / file).write_bytes(b"")
    if "runs" in file:
        (network / "plan.json").write_bytes(b"")
    done = evaluate(network, cohort)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


def test_a_file_that_is_no_checkpoint_is_told_as_such(evaluate, cohort, tmp_path):
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(b"no checkpoint")
    done = evaluate(onnx, cohort)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "model.onnx: is neither a run nor a bundle" in done.stderr
