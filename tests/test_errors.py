"""The error tree: each error prints as one line."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from darnet_trt.errors import DarnetError, Finding, InternalError, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two  spaces", "two spaces"),
        (" a\r\n\tb ", "a b"),
        ("red \x1b[31mname\x07", "red [31mname"),
        ("not UTF-8: \udcff.dcm", "not UTF-8: .dcm"),
        ("Größe 3 × 4", "Größe 3 × 4"),
        ("", ""),
    ],
)
def test_text_fits_on_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_an_error_prints_its_place_its_problem_and_its_remedy_on_one_line() -> None:
    error = DarnetError("is\nbroken", where="a\x1b[2Jb", do="replace it")

    assert str(error) == "a [2Jb: is broken; replace it"


def test_an_internal_error_names_the_exception() -> None:
    try:
        one_line(3)  # type: ignore[arg-type]
    except TypeError as error:
        text = str(InternalError(error))

    assert "TypeError in errors.py:" in text


def test_a_finding_keeps_its_code_through_json() -> None:
    findings = TypeAdapter(Finding)
    finding = Finding("tilted", "gantry tilted by 3°")
    read = findings.validate_json(findings.dump_json(finding))
    assert (read, read.code) == (finding, "tilted")
    assert findings.validate_python(finding) is finding


def test_a_sentence_without_a_code_is_no_finding() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Finding).validate_python("gantry tilted by 3°")
    with pytest.raises(ValidationError):
        TypeAdapter(Finding).validate_json('"gantry tilted by 3°"')
