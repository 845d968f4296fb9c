"""Packages import one way, and a folder has few entries."""

import ast
import re
from pathlib import Path

import darnet_trt

PACKAGE = Path(darnet_trt.__file__).parent
BELOW = {
    "errors": set(),
    "machine": {"errors"},
    "kernels": {"machine", "errors"},
    "scan": set(),
    "phantom": {"scan"},
    "evaluation": {"scan"},
    "bundle": {"scan"},
    "runtime": {"bundle", "evaluation", "scan"},
    "training": {"evaluation", "scan"},
    "calibration": {"runtime", "bundle", "evaluation", "scan"},
}
BELOW["export"] = {"calibration", "training", "phantom", *BELOW["calibration"]}
BELOW["cli"] = {"export", *BELOW["export"]}
ANYWHERE = {"kernels", "machine", "errors", "__version__"}


def imported(file: Path) -> set[str]:
    """The parts of darnet_trt that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "darnet_trt":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("darnet_trt."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("darnet_trt.")}
    return names


def test_packages_import_one_way():
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        package = file.relative_to(PACKAGE).with_suffix("").parts[0]
        if package not in BELOW:  # darnet_trt/__init__.py, __main__.py
            continue
        allowed = BELOW[package] | {package}
        if package not in ("errors", "machine", "kernels"):
            allowed |= ANYWHERE
        wrong += [f"{file.relative_to(PACKAGE)} imports {n}" for n in imported(file) - allowed]
    assert not wrong


def test_a_folder_can_be_read_at_a_glance():
    for folder in {file.parent for file in PACKAGE.rglob("*.py")}:
        if folder.name == "cli":  # one command a file
            continue
        modules = {file for file in folder.glob("*.py") if not file.name.startswith("__")}
        packages = {file.parent for file in folder.glob("*/__init__.py")}
        assert len(modules | packages) <= 12, folder


def test_no_benchmark_imports_from_the_tests():
    benchmarks = (Path(__file__).parents[1] / "benchmarks").rglob("*.py")
    assert [
        f for f in benchmarks if re.search(r"^\s*(from|import) tests", f.read_text(), re.M)
    ] == []
