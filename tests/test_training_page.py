"""The commands of docs/training.md run as printed, in their order, from an empty folder."""

import csv

import pytest
import typer

from darnet_trt.cli.main import app
from darnet_trt.training.ablation.paper import VARIANTS
from tests.pages import commands, run_each

_PAGE = "docs/training.md"


def test_the_page_goes_from_a_download_to_tables():
    known = typer.main.get_command(app)
    words = [words[1:] for words in commands(_PAGE)]
    assert [w[0] for w in words] == [
        "phantom", "cohort", "cohort", "ablation", "explain", "train", "evaluate", "export",
    ]  # fmt: skip
    for name, *arguments in words:
        command = known.commands[name]
        if name == "cohort":
            command, arguments = command.commands[arguments[0]], arguments[1:]
        plain = [a for a in arguments if a != "-q"]  # which main() takes out
        command.make_context(name, plain).close()


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    run_each(commands(_PAGE), tmp_path)
    with (tmp_path / "ablation" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["attention"], row["fold"]) for row in rows} == {
        (variant, fold) for variant in VARIANTS for fold in "01"
    }
    assert {row["side"] for row in rows} == {"test", "held-out"}
    page = (tmp_path / "ablation" / "tables.md").read_text()
    assert page.count("## Table 2") == page.count("## Table 3") == 2
    assert (tmp_path / "figures" / "maps.png").exists()
    assert (tmp_path / "figures" / "lesions.csv").exists()
    assert (tmp_path / "run" / "checkpoint.pt").exists()
