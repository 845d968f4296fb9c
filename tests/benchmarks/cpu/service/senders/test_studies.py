"""The studies that are sent to the service are what they say."""

from collections import Counter

from benchmarks.cpu.service.senders.studies import KINDS, make_studies
from darnet_trt.scan import find_studies


def test_each_kind(tmp_path):
    made = dict(zip(KINDS, make_studies(len(KINDS), 30), strict=False))
    assert {kind: len(files) for kind, files in made.items()} == {
        "chest": 30, "localizers": 30, "short pixels": 30, "no spacing": 30, "twins": 34,
    }  # fmt: skip
    assert Counter(Counter(i.sop_uid for i in made["twins"]).values()) == {1: 26, 2: 4}
    assert len({i.digest for i in made["twins"]}) == 34
    found = {}
    for kind, files in made.items():
        folder = tmp_path / kind
        folder.mkdir()
        for number, instance in enumerate(files[:30]):
            (folder / f"{number}.dcm").write_bytes(instance.content)
        (study,) = find_studies(folder)
        assert study.uid == files[0].study_uid
        found[kind] = [series.slices for series in study.series if series.verdict.usable]
    assert found == {
        "chest": [30], "localizers": [27], "short pixels": [], "no spacing": [], "twins": [30],
    }  # fmt: skip
