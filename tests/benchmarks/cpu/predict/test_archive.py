"""Each study of a benchmark's archive is another one, and reads as the one it was made of."""

from benchmarks.cpu.predict.archive import (
    encoded,
    headers_only,
    phantom_slices,
    template,
    uid_of,
    write_archive,
)
from darnet_trt.scan import find_studies


def test_studies_differ_in_their_uids_alone(tmp_path):
    raw, packed = (template(phantom_slices(48, 14)), template(phantom_slices(48, 12, seed=2)))
    found = find_studies(write_archive(tmp_path, [raw, packed], 4))
    assert [study.uid for study in found] == [uid_of(number) for number in range(4)]
    assert [study.series[0].slices for study in found] == [14, 12, 14, 12]
    assert all(study.series[0].verdict.usable for study in found)
    assert len({slice.read_bytes() for s in found for slice in s.series[0].files}) == 52


def test_encoded_slices_hold_the_same_pixels():
    before = [ds.pixel_array.copy() for ds in phantom_slices(48, 12)]
    for encoding in ("JPEG 2000", "HTJ2K"):
        after = encoded(phantom_slices(48, 12), encoding)
        assert all((a == ds.pixel_array).all() for a, ds in zip(before, after, strict=True))


def test_a_study_of_headers_is_refused(tmp_path):
    headers_only(template(phantom_slices(48, 14)), 3).write(tmp_path, 7)
    (study,) = find_studies(tmp_path)
    assert (study.uid, study.series[0].verdict.usable) == (uid_of(7), False)
