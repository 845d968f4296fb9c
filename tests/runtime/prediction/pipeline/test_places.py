"""A study is classified once over all its files, wherever they lie."""

import threading

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.scan.discovery.places import places
from tests.runtime.prediction.pipeline.studies import write_study


def test_a_study_in_two_places_is_classified_again_over_both(tiny, phantom_series, tmp_path):
    write_study(phantom_series, tmp_path / "a", 1, slices=slice(0, 20))
    write_study(phantom_series, tmp_path / "b", 2)
    write_study(phantom_series, tmp_path / "c", 1, slices=slice(20, None))
    found = list(predict(open_bundle(tiny), tmp_path))
    assert sorted(r.key for r in found) == ["study:2.25.1", "study:2.25.1", "study:2.25.2"]
    *_, whole = (r for r in found if r.key == "study:2.25.1")
    assert (whole.status, whole.series.slices) == ("ok", len(list(phantom_series.iterdir())))
    (warning,) = [w for w in whole.warnings if w.code == "several-places"]
    assert warning.endswith("lie in 2 places: a, c")
    assert not any(w.code == "several-places" for r in found if r is not whole for w in r.warnings)


def test_a_copy_is_no_second_study_unless_each_is_asked_for(tiny, phantom_series, tmp_path):
    for name in "az":
        write_study(phantom_series, tmp_path / name, 1)
    write_study(phantom_series, tmp_path / "m", 2)
    bundle = open_bundle(tiny)
    assert len(list(predict(bundle, tmp_path))) == 2
    assert len(list(predict(bundle, tmp_path, repeats=True))) == 3
    assert len(list(predict(bundle, [tmp_path / "a", tmp_path / "z"]))) == 1


def test_one_worker_keeps_the_order_of_paths(tiny, phantom_series, tmp_path):
    for number in range(5):
        write_study(phantom_series, tmp_path / f"{number}", 9 - number)
    (tmp_path / "3" / "broken.dcm").write_text("text")
    found = list(predict(open_bundle(tiny), tmp_path, workers=1))
    assert [r.scan for r in found] == ["0", "1", "2", "3", "3/broken.dcm", "4"]


def test_places_without_a_scan_are_failed_results(tiny, phantom_series, tmp_path):
    (tmp_path / "empty").mkdir()
    scan = write_study(phantom_series, tmp_path / "scan", 1)
    (scan.parent / "text").write_text("text")
    words = [tmp_path / "empty", tmp_path / "none", scan, scan.parent / "text"]
    told = []
    found = predict(open_bundle(tiny), words, workers=1, progress=lambda *now: told.append(now))
    assert [r.code for r in found] == ["no-scan", "no-such-path", "", "unknown-format"]
    assert told[-1] == (4, True)


def test_files_that_cannot_be_read_are_told_apart_by_the_folders_that_were_given(tiny, tmp_path):
    folders = [tmp_path / name for name in ("a/x", "b/x", "c")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "broken.dcm").write_text("text")
    bundle = open_bundle(tiny)
    found = list(predict(bundle, folders))
    assert [r.status for r in found] == ["failed"] * 3
    assert len({r.key for r in found}) == 3
    assert {r.key for r in predict(bundle, folders[::-1])} == {r.key for r in found}
    (alone,) = predict(bundle, tmp_path / "c")
    assert alone.scan == "broken.dcm"


def test_results_say_who_and_when(tiny, phantom_series, tmp_path):
    write_study(phantom_series, tmp_path / "scan", 1)
    (one,) = predict(open_bundle(tiny), tmp_path)
    assert (one.scan, one.key) == ("scan", "study:2.25.1")
    assert one.patient_id
    assert one.content
    assert one.finished.endswith("Z")
    assert not any(thread.name == "discovery" for thread in threading.enumerate())


def test_shards_find_what_the_whole_finds(tiny, phantom_series, tmp_path):
    archive = tmp_path / "archive"
    for number in range(2):
        write_study(phantom_series, archive / f"{number}", number)
    (archive / "README").write_text("text")  # parts without a scan
    (archive / "notes").mkdir()
    (archive / "notes" / "text").write_text("text")
    bundle = open_bundle(tiny)
    parts = [places([archive], (number, 3)) for number in (1, 2, 3)]
    assert sum(map(len, parts)) == 4
    found = [result.scan for part in parts if part for result in predict(bundle, part)]
    assert sorted(found) == ["0", "1"]
