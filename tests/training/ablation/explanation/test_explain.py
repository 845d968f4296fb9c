"""`darnet-trt explain`, with networks that nobody trained."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from darnet_trt.evaluation.fonts import missing_letters
from darnet_trt.evaluation.seen import TrainingScans, identity
from darnet_trt.phantom import CohortPlan, read_regions, write_cohort
from darnet_trt.scan import load_study
from darnet_trt.scan.cohorts import read_cohort, study_of
from darnet_trt.scan.preprocessing import NEW
from darnet_trt.training.ablation.explanation.regions import on_input
from darnet_trt.training.ablation.paper import VARIANTS
from darnet_trt.training.checkpoint import Checkpoint, save_checkpoint
from darnet_trt.training.model import DARNet, Network

SIZE = (9, 33, 33)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("explained") / "cohort"
    plan = CohortPlan(scans=7, seed=1, matrix=48, slices=(30, 32), format="nifti", lesions=True)
    write_cohort(plan, out, processes=1)
    return out


def save_run(run, trained, attention="none", shortcuts=()):
    """A network that nobody trained, with what is said to have trained it."""
    torch.manual_seed(0)
    network = Network(attention=attention, width=4, input_size=SIZE)
    spec = NEW.model_copy(update={"size": SIZE})
    weights = DARNet(network).state_dict()
    made = Checkpoint(
        network, spec, "nothing", {}, weights, training_scans=trained, shortcuts=shortcuts
    )
    save_checkpoint(made, run)
    return run


def of_patients(cohort, entries):
    table = read_cohort(cohort)
    return TrainingScans.of([identity(table, entry.patient, "", ()) for entry in entries])


def of_slices(entries):
    """Scans that trained a network for a cohort with other names of its patients."""
    spec = NEW.model_copy(update={"size": SIZE})
    slices = [load_study(study_of(entry), spec, identify=True)[1].hashes for entry in entries]
    return TrainingScans.of([identity(None, "", "", one) for one in slices])


def positive(cohort):
    return [entry for entry in read_cohort(cohort).entries if entry.label == "covid-19"]


@pytest.fixture(scope="module")
def ablated(cohort, tmp_path_factory):
    """The four networks of a fold; the first patient trained them."""
    out = tmp_path_factory.mktemp("explained") / "ablated"
    trained = of_patients(cohort, read_cohort(cohort).entries[:1])
    for variant in VARIANTS:
        save_run(out / "runs" / f"{variant}-fold0-seed0", trained, variant)
    return out


@pytest.fixture
def own(cohort, tmp_path):
    """A cohort of one's own, which knows no lesions: three broken scans, then sound ones."""
    folder = tmp_path / "own"
    folder.mkdir()
    lines = ["scan,patient,label"]
    for number in range(3):
        (folder / f"broken-{number}.nii.gz").write_bytes(b"nothing")
        lines.append(f"broken-{number}.nii.gz,broken-{number},covid-19")
    lines += [f"{entry.scan},of-{entry.patient},covid-19" for entry in positive(cohort)]
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def texts(monkeypatch):
    """What Pillow writes into pictures; each text must lie inside."""
    found = []
    write = ImageDraw.ImageDraw.text

    def text(self, xy, text, fill=None, font=None, anchor=None, **more):
        found.append(text)
        left, top, right, bottom = self.textbbox(xy, text, font, anchor)
        assert 0 <= left < right <= self.im.size[0] or not text
        assert 0 <= top < bottom <= self.im.size[1] or not text
        write(self, xy, text, fill, font, anchor, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


def test_draws_the_four_networks_and_scores_them_on_the_lesions(
    command, ablated, cohort, tmp_path, texts
):
    done = command("explain", ablated, cohort, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "maps.png") as page:
        assert page.width > 5 * 224
    assert list((tmp_path / "out").glob("gates-*.png"))
    table = read_cohort(cohort)
    ill = {
        table.name(e) for e in table.entries
        if e.label != "normal" and e.patient != table.entries[0].patient
    }  # fmt: skip
    with (tmp_path / "out" / "lesions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["scan"] for row in rows} >= ill
    assert {row["attention"] for row in rows} == set(VARIANTS)
    for row in rows:
        assert 0 < float(row["lesions_of_lungs"]) < 1
        assert (row["gates_stage_1"] == "") is (row["attention"] in ("none", "channel"))
    assert "hottest cell" in done.stdout
    names = ["ResNet18", "CA-ResNet18", "DA-ResNet18", "Ours"]
    assert texts[:5] == ["scan", *names]
    assert all(f"\n{name} " in done.stdout for name in names)


def test_a_picture_says_what_gave_the_training_cohort_away(command, cohort, tmp_path, texts):
    trained = of_patients(cohort, read_cohort(cohort).entries[:1])
    scan = read_cohort(cohort).name(positive(cohort)[-1])
    codes = ("matrix", "masked-bodies")
    for name, shortcuts in (("fair", ()), ("unfair", codes)):
        run = save_run(tmp_path / name, trained, "depth", shortcuts)
        done = command("explain", run, cohort, "-o", tmp_path / f"{name}-out", "--scan", scan)
        assert done.returncode == 0, done.stderr
        said = "gives its classes away without the lungs: masked-bodies, matrix." in " ".join(texts)
        assert said is bool(shortcuts)
    gates = [(tmp_path / f"{name}-out" / "gates-1.png").read_bytes() for name in ("fair", "unfair")]
    assert gates[0] != gates[1]


def test_the_next_scans_take_the_place_of_those_that_cannot_be_read(
    command, ablated, own, tmp_path, texts
):
    done = command("explain", ablated, own, "-o", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    left_out = [line for line in done.stderr.splitlines() if line.startswith("left out")]
    assert len(left_out) == 3
    for number, line in enumerate(left_out):
        assert f"broken-{number}.nii.gz: is not a NIfTI file" in line
    assert sum(", slice " in text for text in texts) == 2


def test_where_no_scan_can_be_read_each_is_named(command, ablated, own, tmp_path):
    names = [word for n in range(3) for word in ("--scan", f"broken-{n}.nii.gz")]
    done = command("explain", ablated, own, "-o", tmp_path / "out", *names)
    assert done.returncode == 2
    *_, first, second, third, last = done.stderr.splitlines()
    for number, line in enumerate((first, second, third)):
        assert line.startswith("left out")
        assert f"broken-{number}.nii.gz" in line
    assert "no scan for the figure" in last
    assert not (tmp_path / "out").exists()


def test_where_all_patients_trained_the_network_it_says_so(command, cohort, tmp_path):
    everyone = read_cohort(cohort).entries
    for number, (trained, who) in enumerate(
        (
            (of_patients(cohort, everyone), "every patient of this cohort trained"),
            (of_patients(cohort, positive(cohort)), "every scan of the class covid-19 trained"),
            (of_slices(positive(cohort)), "every scan of the class covid-19 trained"),
        )
    ):
        run = save_run(tmp_path / f"run-{number}", trained)
        done = command("explain", run, cohort, "-o", tmp_path / "out")
        assert done.returncode == 2
        assert f"{who} a network; give another cohort" in done.stderr.splitlines()[-1]
        assert not (tmp_path / "out").exists()


def test_a_cohort_without_the_positive_class_is_not_said_to_have_trained(command, cohort, tmp_path):
    table = read_cohort(cohort)
    entry = next(e for e in table.entries if e.label == "normal")
    (tmp_path / "own").mkdir()
    line = f"{entry.scan},somebody,normal"
    (tmp_path / "own" / "cohort.csv").write_text(f"scan,patient,label\n{line}\n")
    run = save_run(tmp_path / "run", of_patients(cohort, ()))
    done = command("explain", run, tmp_path / "own", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "no scan of the class covid-19" in done.stderr
    named = command(
        "explain", run, tmp_path / "own", "-o", tmp_path / "out", "--scan", str(entry.scan)
    )
    assert named.returncode == 0, named.stderr


def test_a_place_that_cannot_be_written_is_said_before_a_scan_is_read(
    command, ablated, cohort, tmp_path
):
    file = tmp_path / "file"
    file.touch()
    for out, says in (
        (file, f"{file}: is a file, expected a folder"),
        (file / "in", f"{file}: is a file, expected a folder"),
        ("/proc/nowhere/out", "choose another place"),
    ):
        done = command("explain", ablated, cohort, "-o", out)
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1, "no progress: nothing was read"


def test_damaged_lesions_leave_a_scan_out(command, ablated, cohort, tmp_path):
    shutil.copytree(cohort, tmp_path / "cohort")
    table = read_cohort(tmp_path / "cohort")
    damaged = positive(tmp_path / "cohort")[-1]
    lesions = tmp_path / "cohort" / "lesions" / f"{table.name(damaged)}.npz"
    whole = lesions.read_bytes()
    lesions.write_bytes(whole[: len(whole) // 2])
    done = command("explain", ablated, tmp_path / "cohort", "-o", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert f"left out: {lesions}: cannot be read" in done.stderr


def test_letters_that_no_font_has_are_said_once(command, ablated, cohort, tmp_path, texts):
    folder = tmp_path / "\U00013000"  # an Egyptian hieroglyph
    folder.mkdir()
    scans = positive(cohort)[:2]
    for number, entry in enumerate(scans):
        shutil.copy(entry.scan, folder / f"{number}.nii.gz")
    lines = [f"\U00013000/{n}.nii.gz,p{n},covid-19" for n in range(len(scans))]
    (tmp_path / "cohort.csv").write_text("\n".join(["scan,patient,label", *lines, ""]))
    done = command("explain", ablated, tmp_path, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    drawable = not missing_letters(["\U00013000"])
    assert done.stderr.count("no font here has the letters \U00013000") == (not drawable)
    shown = "\U00013000" if drawable else "\\U00013000"
    assert sum(text.startswith(f"{shown}/") for text in texts) == len(scans)


def test_one_run_and_a_scan_by_name(command, ablated, cohort, tmp_path):
    table = read_cohort(cohort)
    name = table.name(table.entries[-1])
    run = ablated / "runs" / "none-fold0-seed0"
    done = command("explain", run, cohort, "-o", tmp_path / "out", "--scan", name)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "maps.png") as page:
        assert page.width < 3 * 240
    assert not list((tmp_path / "out").glob("gates-*.png")), "it has no depth attention"


def test_a_cohort_of_ones_own_may_hold_a_folder_called_lesions(command, ablated, cohort, tmp_path):
    table = read_cohort(cohort)
    (tmp_path / "own" / "lesions").mkdir(parents=True)
    entry = next(e for e in table.entries if e.label == "covid-19")
    line = f"{entry.scan},nobody,{entry.label}"
    (tmp_path / "own" / "cohort.csv").write_text(f"scan,patient,label\n{line}\n")
    run = ablated / "runs" / "none-fold0-seed0"
    done = command("explain", run, tmp_path / "own", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "maps.png").exists()
    assert not (tmp_path / "out" / "lesions.csv").exists()


def test_scans_that_trained_a_network_are_left_out_as_evaluate_does(command, cohort, tmp_path):
    """With exit code 0: nothing failed. If none is left, with 2."""
    table = read_cohort(cohort)
    copy, other = positive(cohort)[:2]
    for number, trained in enumerate((of_slices([copy]), of_patients(cohort, [copy]))):
        run = save_run(tmp_path / f"run-{number}", trained)
        names = ("--scan", table.name(copy), "--scan", table.name(other))
        done = command("explain", run, cohort, "-o", tmp_path / f"out-{number}", *names)
        assert done.returncode == 0, done.stderr
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("left out"))
        assert table.name(copy) in line
        assert "trained a network" in line
        done = command("explain", run, cohort, "-o", tmp_path / "none", *names[:2])
        assert done.returncode == 2
        assert "every scan that is named trained a network" in done.stderr
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("named", [True, False])
def test_a_run_that_does_not_say_what_trained_it(command, cohort, tmp_path, named):
    run = save_run(tmp_path / "run", None)
    scan = ("--scan", read_cohort(cohort).name(positive(cohort)[0])) if named else ()
    done = command("explain", run, cohort, "-o", tmp_path / "out", *scan)
    assert done.returncode == 2
    assert f"{run}: does not say which patients trained it" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fold", "7"], "none-fold7-seed0"),
        (["--scan", "nowhere"], "nowhere"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(command, ablated, cohort, tmp_path, words, says):
    done = command("explain", ablated, cohort, "-o", tmp_path / "out", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_has_no_folds_and_keeps_its_folder(command, ablated, cohort, tmp_path):
    run = ablated / "runs" / "none-fold0-seed0"
    done = command("explain", run, cohort, "-o", tmp_path / "out", "--fold", 1)
    assert done.returncode == 2
    assert "is one run, without folds and seeds" in done.stderr
    done = command("explain", run, cohort, "-o", run)
    assert done.returncode == 2
    assert "is a run (it holds checkpoint.pt)" in done.stderr
    assert not (run / "maps.png").exists()


def test_the_regions_lie_on_the_input_as_the_scan_does(cohort):
    """Lungs are dark, and what surrounds them is not."""
    entry = read_cohort(cohort).entries[0]
    spec = NEW.model_copy(update={"size": (25, 40, 40)})
    _, loaded = load_study(study_of(entry), spec)
    regions = on_input(read_regions(cohort, entry.scan), spec, loaded)
    assert regions.lungs.shape == loaded.array.shape[1:]
    lungs = regions.lungs > 0.9
    healthy = loaded.array[0][lungs & (regions.lesions == 0)]
    assert np.median(healthy) < 0.45
    rim = (regions.lungs > 0) & (regions.lungs < 0.1)
    assert np.median(loaded.array[0][rim]) > np.median(healthy) + 0.3
    assert regions.lungs[0].sum() < regions.lungs[12].sum()
