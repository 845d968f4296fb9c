"""Codes of classes, as `build --class-code` gives them."""

import pytest

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.cli.class_codes import class_codes
from darnet_trt.errors import UsageError
from tests.tiny_bundle import PAPER_CLASSES, change_manifest, write_bundle


def test_a_meaning_may_have_commas():
    given = ["normal=17621005, SCT, Normal, of a chest", "covid-19=X1,99WARD,Our own"]
    assert class_codes(given, PAPER_CLASSES) == {
        "normal": ClassCode("17621005", "SCT", "Normal, of a chest"),
        "covid-19": ClassCode("X1", "99WARD", "Our own"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "healthy=1,SCT,Healthy",
        "normal",
        "normal=1,SCT",
        "normal=,SCT,Normal",
        "normal=1,SCHEMES-ARE-SHORTER,Normal",
        "normal=1,SCT," + "n" * 65,
        "normal=1\\2,SCT,Normal",
        "normal=1,SCT,Nor\nmal",
    ],
)
def test_another_text_is_refused(text):
    with pytest.raises(UsageError, match="--class-code"):
        class_codes([text], PAPER_CLASSES)


def test_a_bundle_keeps_them(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    assert open_bundle(bundle).manifest.class_codes == {}
    change_manifest(bundle, class_codes={"normal": ["1", "99WARD", "Fine"]})
    codes = open_bundle(bundle).manifest.class_codes
    assert codes == {"normal": ClassCode("1", "99WARD", "Fine")}
