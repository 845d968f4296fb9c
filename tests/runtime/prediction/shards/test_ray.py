"""What a node checks before it runs a shard."""

import zipfile

from darnet_trt.runtime.prediction.shards.ray import is_filled


def test_an_archive_that_is_not_mounted_is_noticed(tmp_path):
    assert not is_filled(tmp_path)
    assert not is_filled(tmp_path / "archive")
    (tmp_path / "archive").mkdir()
    assert is_filled(tmp_path)
    assert not is_filled(tmp_path / "archive")


def test_files_and_what_lies_in_archives_are_there(tmp_path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("a/1.dcm", b"slice")
    assert is_filled(tmp_path / "study.zip")
    assert is_filled(tmp_path / "study.zip" / "a")
