"""A bundle is complete or absent, whatever happens while it is written."""

import subprocess
import sys
from pathlib import Path

import pytest

from darnet_trt.bundle.manifest import FILE_NAME
from darnet_trt.bundle.writing import bundle_folder
from darnet_trt.errors import BuildError, OutputError, UsageError


def write(out, content, *, force=False, fault=None):
    with bundle_folder(out, force=force) as folder:
        (folder / FILE_NAME).write_text(content)
        if fault is not None:
            raise fault


def test_it_appears_only_when_complete(tmp_path):
    out = tmp_path / "new" / "bundle"
    with bundle_folder(out, force=False) as folder:
        (folder / FILE_NAME).write_text("{}")
        assert not out.exists()
    assert [p.name for p in out.parent.iterdir()] == ["bundle"]
    assert (out / FILE_NAME).read_text() == "{}"


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(tmp_path, fault):
    with pytest.raises(fault):
        write(tmp_path / "new" / "bundle", "half", fault=fault)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_it_names_the_bundle_that_was_asked_for(tmp_path, monkeypatch):
    def fail(out, where):
        with bundle_folder(out, force=False) as folder:
            raise BuildError("a fault", where=where(folder))

    monkeypatch.chdir(tmp_path)
    with pytest.raises(BuildError, match=r"^bundle: a fault$"):
        fail(Path("bundle"), lambda folder: folder / "openvino" / "model.xml")
    with pytest.raises(BuildError, match=r"^elsewhere: a fault$"):
        fail(Path("bundle"), lambda _: "elsewhere")


def test_an_existing_bundle_is_kept_without_force(tmp_path):
    write(tmp_path / "bundle", "old")
    with pytest.raises(UsageError, match="--force"):
        write(tmp_path / "bundle", "new")
    assert (tmp_path / "bundle" / FILE_NAME).read_text() == "old"


def test_force_replaces_it_and_leaves_nothing_else(tmp_path):
    write(tmp_path / "bundle", "old")
    write(tmp_path / "bundle", "new", force=True)
    assert (tmp_path / "bundle" / FILE_NAME).read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_force_keeps_the_old_bundle_when_the_new_one_fails(tmp_path):
    write(tmp_path / "bundle", "old")
    with pytest.raises(RuntimeError):
        write(tmp_path / "bundle", "new", force=True, fault=RuntimeError)
    assert (tmp_path / "bundle" / FILE_NAME).read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_reader_finds_a_bundle_at_every_moment_of_the_replacement(tmp_path):
    write(tmp_path / "bundle", "old")
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\n"
            "manifest = pathlib.Path(sys.argv[1])\n"
            "print('ready', flush=True)\n"
            "while (text := manifest.read_text()) != 'last': pass\n",
            tmp_path / "bundle" / FILE_NAME,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    reader.stdout.readline()
    for number in range(200):
        write(tmp_path / "bundle", str(number), force=True)
    write(tmp_path / "bundle", "last", force=True)
    _, errors = reader.communicate(timeout=60)
    assert errors == ""


def test_a_folder_that_is_not_a_bundle_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(UsageError, match="not a bundle"):
            write(tmp_path / name, "new", force=True)
    assert (tmp_path / "folder" / "thesis.tex").exists()


def test_an_unwritable_place_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write(tmp_path / "file" / "bundle", "new")


@pytest.mark.usefixtures("obeyed_permissions")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write(tmp_path / "bundle", "new")
    tmp_path.chmod(0o700)
