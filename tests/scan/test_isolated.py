"""Reading in a child process: what comes back is what reading here gives."""

import resource
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from darnet_trt.errors import UnreadableScanError, UsageError
from darnet_trt.scan import Preprocessing, find_studies, inspection, isolated
from darnet_trt.scan.inspection import inspect_study
from darnet_trt.scan.isolated import reader
from darnet_trt.scan.loading.load import load_study
from tests.scan import deaths

SPEC = Preprocessing(size=(16, 32, 32))


def test_a_scan_reads_as_it_does_here(phantom_series):
    (study,) = find_studies(phantom_series)
    here, loaded = load_study(study, SPEC)
    with reader() as pixels:
        choice, found = pixels.run(load_study, study, SPEC, where=study.path)
    np.testing.assert_array_equal(found.array, loaded.array)
    assert (found.warnings, found.decoded, found.pixel_mm) == (
        loaded.warnings,
        loaded.decoded,
        loaded.pixel_mm,
    )
    assert choice == here
    assert [w.code for w in choice.series.verdict.warnings] == [
        w.code for w in here.series.verdict.warnings
    ]


def test_a_refusal_keeps_its_type_code_place_and_remedy(tmp_path):
    error = UnreadableScanError(
        isolated.Finding("damaged", "is damaged"), where=tmp_path, do="copy it again"
    )
    with reader() as pixels, pytest.raises(UnreadableScanError) as caught:
        pixels.run(deaths.throw, error, where=tmp_path)
    assert str(caught.value) == str(error)
    assert caught.value.what.code == caught.value.code == "damaged"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out-of-memory"),
        (FileNotFoundError(2, "No such file or directory", "/scan/1.dcm"), "disk-error"),
        (OSError(12, "Cannot allocate memory"), "out-of-memory"),
    ],
)
def test_what_a_library_raises_becomes_the_error_of_the_scan(tmp_path, error, code):
    with reader() as pixels, pytest.raises(UnreadableScanError) as caught:
        pixels.run(deaths.throw, error, where=tmp_path)
    assert caught.value.code == code


def test_a_missing_package_is_no_fault_of_the_scan(tmp_path):
    with reader() as pixels, pytest.raises(ImportError, match="SimpleITK"):
        pixels.run(deaths.throw, ImportError("No module named 'SimpleITK'"), where=tmp_path)


def test_a_large_scan_fits_into_the_limit(tmp_path):
    """A thousand slices of 512 x 512 as one file, in the widest type that scanners write."""
    assert 1000 * 512 * 512 * np.dtype(np.float32).itemsize <= isolated.MEMORY
    with reader() as pixels:
        assert pixels.run(deaths.use_a_gigabyte, where=tmp_path) == 1 << 30
        limit, _ = pixels.run(resource.getrlimit, resource.RLIMIT_DATA, where=tmp_path)
        assert isolated.MEMORY < limit < isolated.MEMORY + (1 << 30)
        assert pixels.run(resource.getrlimit, resource.RLIMIT_CORE, where=tmp_path) == (0, 0)


@pytest.mark.parametrize("way", [deaths.segv, deaths.ask_for_too_much, deaths.divide])
def test_inspect_gives_a_failed_verdict_and_goes_on(phantom_series, tmp_path, monkeypatch, way):
    monkeypatch.setattr(inspection, "judge_pixels", partial(deaths.judge_or, way.__name__))
    with reader() as pixels:
        for name in "abc":
            shutil.copytree(phantom_series, tmp_path / name)
            (study,) = find_studies(tmp_path / name)
            report = inspect_study(study, SPEC, pixels)
            assert report.status == ("failed" if name == "b" else "ok")
            assert bool(report.code) == (name == "b")
            assert report.series[0].code == report.code
            assert report.pixels_checked


def test_each_scan_of_several_processes_has_its_value_or_its_error(tmp_path):
    scans = [(Path(f"/{n}"), (n,)) for n in range(6)]
    found = list(isolated.read_each(deaths.number_or_death, scans, 2))
    assert found[0] == 0
    assert [f.code for f in found[1:5]] == [
        "reading-crashed",
        "out-of-memory",
        "",
        "internal-error",
    ]
    assert [f.where for f in found[1:3]] == ["/1", "/2"]
    assert isinstance(found[3], UsageError)
    assert found[5] == 25
