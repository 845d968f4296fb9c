"""Archives of small studies, and what an unbroken run makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cpu.predict.archive import Template, phantom_slices, template, write_archive
from tests.archive.runs import Facts, facts, finish, words
from tests.tiny_bundle import write_bundle

MATRIX, SLICES = 48, 14


@pytest.fixture(scope="session")
def templates() -> list[Template]:
    """Three chests that are classified, and one that is refused: it has two slices."""
    chests = [template(phantom_slices(MATRIX, SLICES, seed)) for seed in (1, 2, 3)]
    return [*chests, Template(chests[0].files[:2])]


@pytest.fixture(scope="session")
def tiny_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test changes."""
    return write_bundle(tmp_path_factory.mktemp("engine") / "bundle")


@pytest.fixture(scope="session")
def archive(
    templates: list[Template], tiny_engine: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], tuple[Path, Facts]]:
    """Give an archive of so many studies, which no test changes, and the facts of each study."""
    made: dict[int, tuple[Path, Facts]] = {}

    def make(studies: int) -> tuple[Path, Facts]:
        if studies not in made:
            home = tmp_path_factory.mktemp(f"archive-{studies}")
            write_archive(home / "archive", templates, studies)
            code, said = finish(words(tiny_engine, home / "archive", home / "out"), home / "log")
            assert code == 0, said[-4000:]
            expected = facts(home / "out")
            assert len(expected) == studies
            made[studies] = (home / "archive", expected)
        return made[studies]

    return make
