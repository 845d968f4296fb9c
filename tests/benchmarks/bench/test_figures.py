"""The script that prints every figure beside its target."""

import pytest

from benchmarks.bench import figures
from benchmarks.bench.figures import Part
from benchmarks.bench.targets import Target


@pytest.mark.slow
def test_the_short_form_prints_every_part(tiny, phantom_series, capfd):
    ended = figures.main(["--short", "--bundle", str(tiny), "--scans", str(phantom_series)])

    printed = capfd.readouterr().out
    assert ended in (0, 1)  # a busy machine misses some
    assert "**failed**" not in printed
    parts = figures.parts(str(tiny), [str(phantom_series)], tiny, short=True)
    sections = printed.split("\n## ")[1:]
    assert [one.partition("\n")[0] for one in sections] == [part.heading for part in parts]
    for section, part in zip(sections, parts, strict=True):
        assert f"\n    python -m {part.module} " in section
        assert "\n| target | found | limit | result |\n" in section


def test_what_misses_or_fails_shows_in_the_exit_code_and_the_others_go_on(monkeypatch, capsys):
    ends = {
        "met": lambda: [Target("one", 1, 2)],
        "missed": lambda: [Target("two", 3, 2)],
        "broken": lambda: 1 / 0,
        "last": lambda: [Target("four", 2, 2, at_least=True)],
    }
    monkeypatch.setattr(
        figures, "parts", lambda *a, **b: [Part(name, f"the {name}", "m", []) for name in ends]
    )
    monkeypatch.setattr(Part, "run", lambda self: ends[self.name]())

    assert figures.main(["--bundle", "b"]) == 1
    printed = capsys.readouterr().out
    assert "| one | 1 | ≤ 2 | reached |" in printed
    assert "| two | 3 | ≤ 2 | **missed** |" in printed
    assert "**failed**: ZeroDivisionError: division by zero" in printed
    assert "| four | 2 | ≥ 2 | reached |" in printed

    assert figures.main(["--bundle", "b", "--only", "met", "last"]) == 0
    assert "missed" not in capsys.readouterr().out
