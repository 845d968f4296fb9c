"""`constraints.txt` pins what the extras ask for, one version each."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# tensorrt and pycuda are installed on machines that have them; no test here runs them.
EXTRAS = (
    "cpu", "gpu", "rtx", "train", "parquet", "dicom", "serve", "cluster", "gpu-decode", "nvml",
    "dev", "gpu-test",
)  # fmt: skip


def normal(name):
    """The name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line.partition("==")[::2] for line in lines if not line.startswith("#")]


def test_every_package_we_ask_for_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {normal(n) for n in [*project["dependencies"], *(n for e in EXTRAS for n in extras[e])]}
    assert asked - {name for name, _ in pins()} == {"darnet-trt"}


def test_names_are_sorted_and_versions_exact():
    names = [name for name, _ in pins()]
    assert names == sorted(set(map(normal, names)))
    assert all(re.fullmatch(r"[\d.]+(\.post\d+)?", version) for _, version in pins())


def test_no_extra_brings_both_packages_of_onnx_runtime():
    """They overwrite each other's files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def brought(extra):
        found = set()
        for asked in extras[extra]:
            name, inner = normal(asked), re.match(r"darnet-trt\[(.*)\]", asked)
            found |= set().union(*map(brought, inner[1].split(","))) if inner else {name}
        return found

    for extra in extras:
        assert len(brought(extra) & {"onnxruntime", "onnxruntime-gpu"}) < 2, extra
    assert "onnxruntime-gpu" in brought("gpu-test")


def test_the_readme_lists_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    install = (ROOT / "README.md").read_text().partition("## Install")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([\w-]+)` \|", install, re.MULTILINE)
    assert set(listed) >= set(project["optional-dependencies"])
    offered = set(re.findall(r"`([\w,-]+)`", install.partition("| extra |")[0]))
    named = {extra for words in offered if "-" not in words for extra in words.split(",")}
    assert named <= set(project["optional-dependencies"])
