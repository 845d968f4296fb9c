"""`darnet-trt report`: where the page goes, and what it refuses."""

import re
from pathlib import Path

import pytest

from tests.runtime.prediction.report.results import overlay, refused, result, written


@pytest.fixture
def report(command):
    return lambda *words: command("report", *words)


def links_of(page: Path) -> list[str]:
    return re.findall(r'"([^"]*\.overlay\.png)"', page.read_text())


def test_the_page_lies_beside_the_results(report, tmp_path):
    folder = written(tmp_path / "out", [result(0), refused(1)])
    assert report(folder).returncode == 0
    page = (folder / "report.html").read_text()
    assert "too-few-slices" in page
    assert "Research use only" in page
    assert report(folder / "results.jsonl", "-o", tmp_path / "b.html").returncode == 0
    assert (tmp_path / "b.html").is_file()


def test_overlays_are_embedded_up_to_50_results_and_linked_above(report, tmp_path):
    folder = tmp_path / "out"
    name = overlay(folder, "a b_%23#?.overlay.png")
    written(folder, [result(i, overlay=name) for i in range(50)])
    assert report(folder).returncode == 0
    assert (folder / "report.html").read_text().count("data:image/png") == 50
    written(folder, [result(i, overlay=name) for i in range(51)])
    (tmp_path / "pages").mkdir()
    elsewhere = tmp_path / "pages" / "page.html"
    assert report(folder).returncode == report(folder, "-o", elsewhere).returncode == 0
    assert "data:image/png" not in elsewhere.read_text()
    quoted = "a%20b_%2523%23%3F.overlay.png"
    assert set(links_of(folder / "report.html")) == {quoted}
    assert set(links_of(elsewhere)) == {f"../out/{quoted}"}


def test_an_overlay_that_is_gone_or_no_picture_is_left_out(report, tmp_path):
    folder = written(
        tmp_path, [result(0, overlay="gone.overlay.png"), result(1, overlay="text.overlay.png")]
    )
    (folder / "text.overlay.png").write_text("secret")
    assert report(folder).returncode == 0
    page = (folder / "report.html").read_text()
    assert "data:image/png" not in page
    assert "gone.overlay.png" not in page


def test_a_page_of_private_results_is_private(report, tmp_path):
    folder = written(tmp_path, [result(0)])
    (folder / "results.jsonl").chmod(0o600)
    assert report(folder).returncode == 0
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv", "missing/report.html", "."])
def test_no_file_but_a_page_is_overwritten(report, tmp_path, name):
    folder = written(tmp_path, [result(0)])
    (folder / "results.csv").write_text("scan\n")
    before = {p: p.read_bytes() for p in folder.iterdir()}
    ended = report(folder, "-o", folder / name)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    assert report(folder).returncode == report(folder).returncode == 0


def test_what_holds_no_results(report, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no results\n")
    for path in (tmp_path / "empty", tmp_path / "absent", tmp_path / "text"):
        ended = report(path, "-o", tmp_path / "page.html")
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert not (tmp_path / "page.html").exists()


def test_a_run_without_results_yet(report, tmp_path):
    assert report(written(tmp_path, [])).returncode == 0
    assert "no results yet" in (tmp_path / "report.html").read_text()


def test_labels_and_bundle(report, tmp_path, tiny):
    folder = written(tmp_path / "out", [result(0), result(1)])
    table = tmp_path / "cohort.csv"
    table.write_text("scan,patient,label\nP00000/1,a,covid-19\nP00001/1,b,normal\n")
    ended = report(folder, "--labels", table)
    assert ended.stdout.startswith("1 of 2 labelled scans")
    assert "Against the labels" in (folder / "report.html").read_text()
    table.write_text("scan,patient,label\nelsewhere,a,covid-19\n")
    assert report(folder, "--labels", table).returncode == 2
    assert report(folder, "--bundle", tiny).returncode == 2  # it made none of them


def test_labels_are_of_the_classes_of_the_results(report, tmp_path):
    of = {"viral": 0.1, "fungal": 0.2, "clear": 0.6, "other": 0.1}
    folder = written(tmp_path / "out", [refused(1), result(0, predicted="clear", probabilities=of)])
    table = tmp_path / "cohort.csv"
    table.write_text("scan,patient,label\nP00000/1,P0,Clear\nP00001/1,P1,viral\n")
    done = report(folder, "--labels", table)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 labelled scans classified right" in done.stdout
    table.write_text("scan,patient,label\nP00000/1,P0,normal\n")
    ended = report(folder, "--labels", table)
    assert ended.returncode == 2
    assert "'normal'" in ended.stderr
    nothing = written(tmp_path / "refused", [refused(0)])
    assert report(nothing, "--labels", table).returncode == 0
