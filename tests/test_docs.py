"""The pages agree with the code: links, files, options, fields of a result."""

import ast
import json
import re
from pathlib import Path

import pytest
import typer

from darnet_trt.cli.main import app
from darnet_trt.runtime.bench.report.schema import BenchReport
from darnet_trt.runtime.prediction.results.result import NO_OBJECTS, SHORTCUT, UNLIKE
from tests.scan.test_docs import findings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PAGE_OF_RESULTS = ROOT / "docs" / "results.md"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`([\w./-]+/[\w-]+\.(?:py|c|cuh|svg|md))`", page.read_text())
    named = [n for n in named if "NAME" not in n and not n.startswith("gpu-report/")]
    places = (ROOT, ROOT / "darnet_trt", ROOT / "tests")
    assert [n for n in named if not any((place / n).exists() for place in places)] == []


def options_of(command):
    found = {text for parameter in command.params for text in parameter.opts}
    found |= {text for parameter in command.params for text in parameter.secondary_opts}
    return found.union(*map(options_of, getattr(command, "commands", {}).values()))


@pytest.fixture(scope="module")
def known_options():
    """Return every option of the command line and of the scripts."""
    scripts = [*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("examples/*.py")]
    in_scripts = {
        o for script in scripts for o in re.findall(r'"(--[a-z][a-z-]*)"', script.read_text())
    }
    return options_of(typer.main.get_command(app)) | in_scripts | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_on_a_page_exists(page, known_options):
    ours = re.sub(
        r".*pip install.*|gdcmconv --raw|storescp.*--fork|systemctl enable --now"
        r"|\bray (?:start|get-auth-token)[^`\n]*",
        "",
        page.read_text(),
    )
    assert set(OPTION.findall(ours)) - known_options == set()


def test_every_field_of_a_result_is_on_its_page(command, tiny, phantom_series, tmp_path):
    done = command("predict", tiny, phantom_series, "-o", tmp_path / "out", "--json")
    page = PAGE_OF_RESULTS.read_text()
    record = json.loads(done.stdout)
    header = (tmp_path / "out" / "results.csv").read_text().partition("\n")[0].split(",")
    fields = {*record, *record["series"], *record["stages_ms"]}
    fields |= {name for name in header if not name.startswith(("probability_", "logit_"))}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []


def test_every_field_of_a_benchmark_is_on_its_page():
    page = (ROOT / "docs" / "bench.md").read_text()
    schema = BenchReport.model_json_schema()
    parts = (
        schema,
        *(part for name, part in schema["$defs"].items() if name not in ("Cpu", "Gpu")),
    )
    fields = {name for part in parts for name in part["properties"]}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []


def test_every_code_of_the_engine_and_the_network_is_on_the_page_of_results():
    package = ROOT / "darnet_trt"
    written = {"internal-error", NO_OBJECTS, SHORTCUT, UNLIKE}
    of_the_service = (package / "runtime" / "serving").rglob(
        "*.py"
    )  # they refuse, no result has them
    paths = {*(package / "runtime").rglob("*.py"), *(package / "bundle").glob("*.py")}
    for path in paths - {*of_the_service}:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                code = node.args[0]
                written |= {code.value} if isinstance(code, ast.Constant) and code.value else set()
    shown = re.findall(
        r"^\| `([a-z0-9-]+)` \| (?:warning|failed) ", PAGE_OF_RESULTS.read_text(), re.M
    )
    assert sorted(shown) == sorted(written - set(findings()))
