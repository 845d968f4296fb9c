"""Classes of a cohort's own, more than the paper has, from the scans to what is made of them."""

import csv
import json
import re
import shutil
import signal

import pydicom
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.phantom import CohortPlan, plan_classes, write_cohort
from darnet_trt.scan.cohorts import read_cohort
from darnet_trt.training.checkpoint import load_checkpoint
from tests.cli.command import darnet_trt
from tests.cli.serving import serving
from tests.runtime.serving.page.browser import Visit
from tests.tiny_bundle import write_bundle

CLASSES = ("tuberculosis", "covid-19", "viral", "normal")
KINDS = "tuberculosis=small-nodules+emphysema,covid-19,viral=viral-pneumonia,normal"
SEED = ("--seed", 5)


def run(*words):
    done = darnet_trt(*words)
    assert done.returncode == 0, done.stderr
    return done


def check_results(folder, cohort):
    """Every result, table, object and page names these classes and no others."""
    lines = (folder / "results.jsonl").read_text().splitlines()
    results = list(map(json.loads, lines))
    assert len(results) == len(cohort.entries)
    for result in results:
        assert tuple(result["probabilities"]) == CLASSES
        assert result["class"] in CLASSES
    with (folder / "results.csv").open(newline="") as file:
        (first, *_) = rows = list(csv.DictReader(file))
    assert len(rows) == len(results)
    columns = [name for name in first if name.startswith("probability_")]
    assert columns == [f"probability_{name}" for name in CLASSES]
    for result in results:
        kinds = {one["kind"]: folder / one["file"] for one in result["dicom"]}
        report = str(pydicom.dcmread(kinds["sr"]))
        assert all(name in report for name in ("tuberculosis", "viral", "SARS-CoV-2", "Normal"))
        assert "other than COVID-19" not in report
        assert set(kinds) == {"sr", "pm", "sc"}
    page = (folder / "report.html").read_text()
    assert all(name in page for name in CLASSES)
    assert "common-pneumonia" not in page


def test_results_objects_and_report_name_them(command, tmp_path):
    plan = CohortPlan(scans=2, seed=5, matrix=48, slices=(30, 30), kinds=plan_classes(KINDS))
    write_cohort(plan, tmp_path / "cohort", processes=1)
    cohort = read_cohort(tmp_path / "cohort")
    assert cohort.classes == CLASSES
    bundle = write_bundle(tmp_path / "bundle", classes=CLASSES)
    out = tmp_path / "out"
    ended = command(
        *("predict", bundle, tmp_path / "cohort", "-o", out, "--cam", "--dicom", "sr,pm,sc")
    )
    assert ended.returncode == 0, ended.stderr
    ended = command("report", out, "--labels", tmp_path / "cohort", "--bundle", bundle)
    assert ended.returncode == 0, ended.stderr
    check_results(out, cohort)


@pytest.mark.slow
def test_four_classes_from_phantom_to_the_page(browser, tmp_path):
    size = ("--matrix", 64, "--slices", "30:36")
    cohort, run_folder, bundle = (tmp_path / name for name in ("cohort", "run", "bundle"))
    run("phantom", cohort, "--scans", 40, "--classes", KINDS, *size, *SEED)
    run("train", cohort, "-o", run_folder, "--epochs", 1)
    checkpoint = load_checkpoint(run_folder)
    assert checkpoint.network.classes == CLASSES
    assert {f"scans_{name}" for name in CLASSES} <= set(checkpoint.validation)
    run("build", run_folder, "-o", bundle, "--target", "openvino", "--scans", cohort)
    assert open_bundle(bundle).manifest.classes == CLASSES
    run("evaluate", bundle, cohort, "-o", tmp_path / "evaluation")
    measured = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert all(f"recall_{name}" in json.dumps(measured) for name in CLASSES)
    run("phantom", tmp_path / "new", "--scans", 4, "--classes", KINDS, *size, "--seed", 6)
    out = tmp_path / "out"
    run("predict", bundle, tmp_path / "new", "-o", out, "--cam", "--dicom", "sr,pm,sc")
    run("report", out, "--labels", tmp_path / "new", "--bundle", bundle)
    check_results(out, read_cohort(tmp_path / "new"))
    with serving(bundle, tmp_path / "state", "--objects", "sr") as service:
        visit = Visit(browser, f"http://127.0.0.1:{service.http}")
        archive = shutil.make_archive(
            tmp_path / "scan", "zip", read_cohort(tmp_path / "new").entries[0].scan
        )
        visit.tab.locator("#files").set_input_files(archive)
        shares = visit.tab.get_by_role("main").get_by_role("list", name="Probabilities")
        shares.wait_for()
        named = re.findall(r"[a-z][a-z0-9-]+", shares.inner_text())
        assert set(named) == set(CLASSES)
        visit.tab.locator(".curve.c3").first.wait_for(state="attached")
        assert visit.complaints == []
        visit.context.close()
        service.signal(signal.SIGTERM)
        assert service.ended() == 0
