import re

from darnet_trt.runtime.prediction.results.names import result_name
from tests.runtime.prediction.results.test_result import SERIES, result


def test_files_are_named_by_study_and_series():
    used = SERIES.model_copy(update={"number": 3, "description": "Thorax  B40f/soft"})
    name = result_name(result("cohort/P0001/1", series=used, patient_id="4711"))
    assert re.fullmatch(r"P0001-1_series-3_Thorax-B40f-soft_[0-9a-f]{8}", name)
    plain = result_name(result("cohort/P0001/1", series=None))
    assert re.fullmatch(r"P0001-1_[0-9a-f]{8}", plain)


def test_names_are_safe_and_tell_studies_apart():
    odd = b"\xff\xfe".decode("utf-8", "surrogateescape")
    for scan in ("/a/Müller, ../x", odd, "..", "\n", "a" * 5000):
        one, two = (result_name(result(scan, key=f"study:{i}{odd}")) for i in range(2))
        assert one != two
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{,200}", one)
