"""The page against `darnet-trt serve` itself: from a scan that is sent to its slices."""

import os
import re
import signal
import socket
import zipfile
from contextlib import contextmanager

import pytest
import SimpleITK

from darnet_trt.scan.cohorts import read_cohort
from tests.cli.serving import serving
from tests.runtime.serving.page.browser import Visit, until, violations
from tests.tiny_bundle import write_bundle

TOKEN = "a-token-of-the-tests-0123456789"


@contextmanager
def served(bundle, state, *options):
    """Run the service in a process of its own, and end it by SIGTERM."""
    with serving(bundle, state, *options) as started:
        yield started
        started.signal(signal.SIGTERM)
        assert started.ended() == 0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("served") / "bundle")


@pytest.fixture(scope="module")
def service(bundle, tmp_path_factory):
    state = tmp_path_factory.mktemp("served") / "state"
    with served(bundle, state, "--objects", "sr,pm,sc,refusal", "--identifiers") as started:
        yield started


@pytest.fixture
def visit(browser):
    """Open the page of a service; nothing of it may come from elsewhere, or raise."""
    visits = []

    def opened(started, **options):
        address = f"http://127.0.0.1:{started.http}"
        visits.append((address, Visit(browser, address, **options)))
        return visits[-1][1].tab

    yield opened
    for address, each in visits:
        assert each.complaints == []
        assert [url for url in each.asked if not url.startswith((address, "blob:"))] == []
        each.context.close()


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def test_a_zip_becomes_a_result_with_its_slices(visit, service, phantom_series, tmp_path):
    tab = visit(service)
    tab.get_by_text("Ready", exact=True).wait_for()
    slices = sorted(phantom_series.iterdir())
    tab.locator("#files").set_input_files(zipped(tmp_path / "chest.zip", slices))
    main = tab.get_by_role("main")
    main.get_by_role("list", name="Probabilities").wait_for()
    shares = main.get_by_role("list", name="Probabilities").inner_text()
    assert sum(map(float, re.findall(r"([\d.]+)\s%", shares))) == pytest.approx(100, abs=0.2)
    tab.get_by_label("Slice, foot to head").wait_for()
    seen = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert tab.locator(".slice canvas").evaluate(seen) > 10
    main.get_by_text(f"{len(slices)} files received: ").click()
    rows = main.locator(".files tbody tr")
    until(lambda: rows.count() == len(slices))
    assert rows.filter(has_text="used").count() > 0
    for name, kind in (("Structured report", "sr"), ("Parametric map", "pm"), ("Picture", "sc")):
        with tab.expect_download() as taken:
            tab.get_by_role("link", name=name).click()
        assert taken.value.path().read_bytes()[128:132] == b"DICM", kind
    with tab.expect_download() as taken:
        tab.get_by_role("link", name="Overlay").click()
    assert taken.value.path().read_bytes().startswith(b"\x89PNG")
    assert tab.locator("#patient").inner_text().startswith("Patient P0001")


@pytest.mark.slow
def test_slices_of_a_folder_that_are_too_few_are_refused(visit, service, phantom_cohort):
    slices = sorted(read_cohort(phantom_cohort).entries[1].scan.iterdir())[:3]
    tab = visit(service)
    tab.locator("#files").set_input_files(slices)
    main = tab.get_by_role("main")
    main.get_by_role("heading", name="Refused").wait_for()
    assert main.get_by_text("only 3 slices").first.is_visible()
    with tab.expect_download() as taken:
        tab.get_by_role("link", name="Report of the refusal").click()
    assert taken.value.path().read_bytes()[128:132] == b"DICM"


@pytest.mark.slow
def test_a_volume_and_a_file_that_is_none(visit, service, phantom_series, tmp_path):
    path = tmp_path / "chest.nii.gz"
    slices = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(phantom_series))
    SimpleITK.WriteImage(SimpleITK.ReadImage(slices), path)
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(b"NRRD0004\n" + os.urandom(100))
    tab = visit(service)
    tab.locator("#files").set_input_files([path, broken])
    tab.locator("#uploads").get_by_text("broken.nrrd", exact=True).wait_for()
    tab.locator("#studies").get_by_text("chest.nii.gz", exact=True).click()
    tab.get_by_role("main").get_by_role("list", name="Probabilities").wait_for()
    tab.locator("#uploads .failed").wait_for()


@pytest.mark.slow
def test_what_comes_over_dicom_is_listed_at_once(visit, service, phantom_cohort):
    from pydicom import dcmread
    from pynetdicom import AE

    tab = visit(service)
    tab.get_by_text("trained on").first.wait_for()
    first = dcmread(next(p for p in sorted(phantom_cohort.rglob("*.dcm"))))
    first.StudyInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID = (
        "2.25.171717"
    )
    sender = AE()
    sender.add_requested_context(first.SOPClassUID, first.file_meta.TransferSyntaxUID)
    association = sender.associate("127.0.0.1", service.dicom, ae_title="DARNET-TRT")
    before = tab.locator("#studies li").count()
    assert association.send_c_store(first).Status == 0
    association.release()
    until(lambda: tab.locator("#studies li").count() == before + 1)
    tab.locator("#studies a").first.click()
    tab.get_by_role("main").get_by_role("heading", name="Refused").wait_for()


@pytest.mark.slow
def test_axe_finds_no_fault_in_the_real_page(visit, service, axe):
    tab = visit(service)
    tab.locator("#studies a").first.wait_for()
    for link in tab.locator("#studies a").all():
        link.click()
        tab.locator(".result").first.wait_for()
        assert violations(tab, axe) == []


@pytest.mark.slow
def test_the_page_lives_through_a_restart(visit, bundle, phantom_series, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = f"127.0.0.1:{taken.getsockname()[1]}"
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    options = ("--token-file", secret, "--http", http)
    state = tmp_path / "state"
    with served(bundle, state, *options) as started:
        tab = visit(started)
        tab.get_by_role("textbox", name="Token").fill("wrong")
        tab.keyboard.press("Enter")
        tab.get_by_text("does not know this token").wait_for()
        tab.get_by_role("textbox", name="Token").fill(TOKEN)
        tab.keyboard.press("Enter")
        sent = zipped(tmp_path / "chest.zip", sorted(phantom_series.iterdir()))
        tab.get_by_text("No study yet").wait_for()
        tab.locator("#files").set_input_files(sent)
        tab.get_by_label("Slice, foot to head").wait_for()
        with tab.expect_download() as got:
            tab.get_by_role("link", name="All as JSON").click()
        assert b'"done"' in got.value.path().read_bytes()
    tab.get_by_text("The service does not answer").wait_for()
    with served(bundle, state, *options):
        tab.get_by_text("Ready", exact=True).wait_for()
        assert tab.locator("#studies li").count() == 1
        tab.locator("#files").set_input_files(sent)
        tab.locator("#uploads").get_by_text("files received before").wait_for()
        assert tab.locator("#studies li").count() == 1, "the same slices are the same study"
