"""A cohort is checked whole, once, and a leaky one is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from darnet_trt.errors import UsageError
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import read_cohort
from darnet_trt.training.checking import probe as probing
from darnet_trt.training.checking.check import check
from darnet_trt.training.checking.probe import FEWEST_PATIENTS, probe
from darnet_trt.training.checking.reading import VIEW
from darnet_trt.training.checking.shortcuts import shortcuts
from darnet_trt.training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """Eighteen scans; those of one class are JPEG files."""
    out = tmp_path_factory.mktemp("leaky") / "cohort"
    write_cohort(CohortPlan(18, 1, "slices", 48, (30, 30)), out, processes=1)
    for entry in read_cohort(out).entries:
        if entry.label == "normal":
            for file in sorted(entry.scan.iterdir()):
                Image.open(file).save(file.with_suffix(".jpg"), quality=95)
                file.unlink()
    return out


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def test_a_leaky_cohort_is_named_kept_and_refused(leaky, cache, tmp_path, command):
    cohort = read_cohort(leaky)
    found = check(cohort)
    assert found.shortcuts == ("file-type",)
    assert sum(one.scans for one in found.counts) == 18 == sum(one.usable for one in found.counts)
    assert str(FEWEST_PATIENTS) in found.probe.left_out
    with pytest.raises(UsageError, match=r"file-type.*--allow-shortcut") as error:
        shortcuts(cohort, allow=False, reading=_not_again)
    assert str(leaky) in str(error.value)
    assert shortcuts(cohort, allow=True, reading=_not_again) == ("file-type",)
    done = command("cohort", "check", leaky, "-o", tmp_path / "check.json")
    assert done.returncode == 1
    assert "gives the class away: file-type: " in done.stdout
    assert "the files' type: .jpg, in 6 of 18 scans (6 of 6 normal)" in done.stdout
    assert "not tried" in done.stdout
    told = command("cohort", "check", leaky, "--json")
    assert json.loads(told.stdout) == json.loads((tmp_path / "check.json").read_text())
    assert json.loads(told.stdout)["findings"][0]["code"] == "file-type"


def test_train_refuses_a_leaky_cohort_and_keeps_what_was_allowed(leaky, cache, tmp_path, command):
    words = ("train", leaky, "-o", tmp_path / "run", "--epochs", 1)
    refused = command(*words)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(f"darnet-trt: {leaky}")
    assert "file-type" in refused.stderr
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    allowed = command(*words, "--allow-shortcut")
    assert allowed.returncode == 0, allowed.stderr
    assert load_checkpoint(tmp_path / "run").shortcuts == ("file-type",)


def test_a_changed_scan_is_checked_again(leaky, cache, tmp_path):
    shutil.copytree(leaky, tmp_path / "cohort")
    cohort = read_cohort(tmp_path / "cohort")
    chosen = [e for e in cohort.entries if e.label == "normal"]
    for entry in chosen:
        for file in sorted(entry.scan.iterdir()):
            Image.open(file).save(file.with_suffix(".png"))
            file.unlink()
    assert check(cohort).shortcuts == ()
    (chosen[0].scan / "0009.png").write_bytes(b"broken")
    again = check(cohort)
    assert [one.code for one in again.findings] == ["unusable-scans"]
    assert again.shortcuts == ()


def _not_again(scans):
    raise AssertionError("the scans are read again")


@pytest.mark.parametrize("command_line", [("cohort", "check"), ("train", "-o", "run")])
def test_a_cohort_of_which_no_scan_can_be_read(cache, tmp_path, command, command_line, monkeypatch):
    monkeypatch.chdir(tmp_path)
    patients = [(f"{label}{n}", label) for label in ("ncp", "normal") for n in range(4)]
    lines = ["scan,patient,label", *(f"{name}.nii.gz,{name},{label}" for name, label in patients)]
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join(lines))
    done = command("-q", *command_line, tmp_path, "--classes", "ncp,normal")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"darnet-trt: {table}: no scan can be used: the first of 8 is "
        f"{tmp_path / 'ncp0.nii.gz'}: no such file or folder\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_scan_that_cannot_be_read_is_named_with_its_reason(leaky, cache, tmp_path, command):
    rows = (leaky / "cohort.csv").read_text().splitlines()
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join([rows[0], f"{leaky}/{rows[1]}", "nowhere.nii.gz,p,normal"]))
    done = command("cohort", "check", table)
    assert done.returncode == 1
    said = next(line for line in done.stdout.splitlines() if "unusable-scans" in line)
    assert said.startswith("to know: unusable-scans: 1 of 2 scans (1 of ")
    assert said.endswith(f"such as {tmp_path / 'nowhere.nii.gz'}: no such file or folder")


@pytest.mark.parametrize("words", [("check",), ("folds", "--folds", "2")])
def test_what_is_there_is_not_overwritten(leaky, tmp_path, command, words):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for out, says in ((mine, "exists already"), (tmp_path, "is a folder")):
        done = command("cohort", *words, leaky, "-o", out)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"darnet-trt: {out}: {says}")
        assert done.stderr.count("\n") == 1
    assert mine.read_text() == "mine"


def test_errors_take_one_line(tmp_path, command):
    (tmp_path / "cohort.csv").write_text("scan,patient,label\nnowhere.nii.gz,p,normal\n")
    done = command("cohort", "check", tmp_path, "--classes", "a")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def views(leak, patients=48):
    """Noise, brighter in one corner for the scans of class 1 if there is a leak."""
    rng = np.random.default_rng(0)
    labels = np.arange(patients) % 2
    made = rng.normal(0.5, 0.1, (patients, *VIEW)).astype(np.float16)
    if leak:
        made[labels == 1, :, :8, :8] += np.float16(0.2)
    return list(made), labels, np.arange(patients)


@pytest.mark.parametrize("leak", [True, False])
def test_the_probe_sees_a_leak_in_the_pixels_and_nothing_in_noise(leak, monkeypatch):
    monkeypatch.setattr(probing, "_EPOCHS", 4)
    found = probe(*views(leak), ("a", "b"))
    (area,) = found.areas
    assert (area.label, found.patients) == ("a", 48)
    assert area.lower <= area.auc <= area.upper
    assert area.above_chance == leak


def test_a_class_that_few_of_many_scans_have_is_judged_too():
    labels = np.repeat([0, 1, 2], (4000, 40, 15))
    patients = np.arange(len(labels)) // 2
    patients[-15:] = 9000 + np.arange(15)
    chosen = probing._chosen(labels, patients, np.random.default_rng(0))
    assert len(chosen) == len(set(chosen)) == probing.MOST_SCANS
    assert np.bincount(labels[chosen]).tolist() == [245, 40, 15]
    assert len(set(patients[chosen][labels[chosen] == 0])) == 245


def test_a_class_of_second_scans_alone_leaves_the_probe_out():
    """Every patient was ill first, and well later."""
    made, labels, _ = views(leak=False)
    found = probe(made, labels, np.arange(len(made)) // 2, ("ill", "well"))
    assert found.areas == ()
    assert found.left_out.startswith("well has 0 patients with usable scans")


def test_patients_are_on_one_side_of_the_probe():
    labels, patients = np.arange(60) // 2 % 3, np.arange(60) // 2
    parts = probing._parts(labels, patients, np.random.default_rng(0))
    assert all(len(set(parts[patients == patient])) == 1 for patient in range(30))
    for label in range(3):
        assert np.bincount(parts[labels == label], minlength=5).tolist() == [4] * 5
