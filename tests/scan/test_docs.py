"""docs/scans.md lists every finding of the readers with its code."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import darnet_trt.scan

SCAN = Path(darnet_trt.scan.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "scans.md"
SOURCES = [*sorted(SCAN.rglob("*.py")), *(SCAN.parent / "machine").glob("*.py")]
SOURCES.append(SCAN.parent / "errors.py")
WITHOUT_A_ROW = {"usable", "internal-error"}


def texts(tree):
    """Return the string literals of an expression or a module, f-strings in their fixed pieces."""
    return [
        part.value
        for part in ast.walk(tree)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def findings():
    """Return each code with the fixed pieces of the sentences that are written with it."""
    found = defaultdict(set)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                code, text = node.args
                if isinstance(code, ast.Constant):  # else it passes another's code on
                    found[code.value] |= {piece.strip() for piece in texts(text)}
    return {code: pieces for code, pieces in found.items() if code not in WITHOUT_A_ROW}


def rows():
    """Return each code with its messages on the page."""
    found = defaultdict(str)
    for code, message in re.findall(r"^\| `([a-z0-9-]+)` \| (.+?) \|", PAGE.read_text(), re.M):
        found[code] += f"{message}\n"
    return found


def test_every_code_has_a_row_and_every_row_a_code():
    assert sorted(findings()) == sorted(rows())


def test_a_row_shows_its_sentences():
    page = rows()
    missing = {
        (code, piece)
        for code, pieces in findings().items()
        for piece in pieces
        if len(piece) > 8 and " " in piece and piece not in page[code]
    }
    assert not missing


def test_the_page_shows_no_sentence_that_is_not_written():
    given = "\n".join(text for path in SOURCES for text in texts(ast.parse(path.read_text())))

    def is_given(words):
        """Return whether literals of two words and more, one after the other, make up the words."""
        lengths = range(len(words), min(len(words), 2) - 1, -1)
        return not words or any(
            " ".join(words[:n]) in given and is_given(words[n:]) for n in lengths
        )

    quoted = [phrase for row in rows().values() for phrase in re.findall("`(.+?)`", row)]
    fragments = {piece.strip() for phrase in quoted for piece in re.split("[…():,;]", phrase)}
    assert sorted(piece for piece in fragments if not is_given(piece.split())) == []


def test_every_row_has_a_verdict_a_meaning_and_a_remedy():
    tables = [
        line for line in PAGE.read_text().split("\n") if re.match(r"\| `[a-z0-9-]+` \| ", line)
    ]
    cells = [line[2:-2].split(" | ") for line in tables]
    verdict = r"(refused|failed|warning)( or (refused|failed))?"
    assert [row for row in cells if len(row) != 5 or not all(row)] == []
    assert [row[0] for row in cells if not re.fullmatch(verdict, row[2])] == []
