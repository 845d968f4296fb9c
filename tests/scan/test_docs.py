"""docs/scans.md names every reason that the readers give."""

import ast
import re
from pathlib import Path

import darnet_trt.scan

SCAN = Path(darnet_trt.scan.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "scans.md"
ELSEWHERE = {"choice.py", "loading.py", "cohort.py", "errors.py"}
"""These combine the other modules' reasons, or are about more than scans."""
ERRORS = {"UnreadableScanError", "RefusedScanError", "UsageError"}
NAMES = {"reason", "refusal", "what", "found", "by", "places"}
USABLE = "axial slices,"


def modules():
    paths = [*sorted(SCAN.rglob("*.py")), SCAN.parent / "errors.py"]
    return {path: ast.parse(path.read_text("utf-8")) for path in paths}


def texts(tree):
    """The string literals of an expression or a module, f-strings in their fixed pieces."""
    return [
        part.value
        for part in ast.walk(tree)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def messages(tree):
    """The expressions that hold a reason or a warning."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ERRORS or name == "append":
                yield node.args[0]
            elif name in ("Verdict", "_broken") and len(node.args) > 1:
                yield node.args[1]
        elif isinstance(node, ast.Return | ast.Assign) and node.value is not None:
            targets = getattr(node, "targets", [])
            if not targets or getattr(targets[0], "id", "") in NAMES:
                yield node.value


def test_every_reason_is_on_the_page():
    page = PAGE.read_text("utf-8").replace("Check its", "check its")
    pieces = {
        piece.strip()
        for path, tree in modules().items()
        if path.name not in ELSEWHERE
        for message in messages(tree)
        for piece in texts(message)
    }
    long = {piece for piece in pieces if len(piece) > 8 and " " in piece}
    assert len(long) > 100
    assert sorted(piece for piece in long if piece not in page) == [USABLE]


def test_the_page_names_no_reason_that_is_not_given():
    rows = re.findall(r"^\| (`.+?`) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    quoted = [phrase for row in rows for phrase in re.findall("`(.+?)`", row)]
    assert len(quoted) > 80
    given = "\n".join(text for tree in modules().values() for text in texts(tree))

    def is_given(words):
        """Return whether literals of two words and more, one after the other, make up the words."""
        lengths = range(len(words), min(len(words), 2) - 1, -1)
        return not words or any(
            " ".join(words[:n]) in given and is_given(words[n:]) for n in lengths
        )

    fragments = {piece.strip() for phrase in quoted for piece in re.split("[…():,;]", phrase)}
    assert sorted(piece for piece in fragments if not is_given(piece.split())) == []
