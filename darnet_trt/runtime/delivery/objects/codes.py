"""The codes of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.errors import one_line

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

PRIVATE: Final = "99DARNET"
"""Our private coding scheme (PS3.16 section 8.2)."""

KNOWN: Final = {
    "covid-19": ClassCode("882784691000119100", "SCT", "Pneumonia caused by SARS-CoV-2"),
    # SNOMED CT's 233604007 "Pneumonia" would contain that of COVID-19.
    "common-pneumonia": ClassCode("other-pneumonia", PRIVATE, "Pneumonia other than COVID-19"),
    "normal": ClassCode("17621005", "SCT", "Normal"),
}
"""The paper's classes, in lower case. A CT shows a pneumonia of COVID-19, not the disease."""


def plain(text: str) -> str:
    """Return a text on one line, as a description or a code may hold it: without backslashes."""
    return one_line(text).replace("\\", "/")


def class_code(name: str, given: Mapping[str, ClassCode]) -> CodedConcept:
    """Return the code of a class: the bundle's, else ours, else a private one of its name.

    Args:
        name: The class.
        given: `class_codes` of the bundle's manifest.
    """
    from highdicom.sr import CodedConcept

    named = plain(name)
    ours = KNOWN.get(name.casefold()) or ClassCode(named, PRIVATE, named[:64].strip())
    code = given.get(name) or ours
    return CodedConcept(code.value, code.scheme, code.meaning)
