"""The codes of classes, and of what the objects say about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

PRIVATE: Final = "99DARNET"
"""Our private coding scheme (PS3.16 section 8.2)."""

ClassCode = tuple[str, str, str]
"""Value, scheme designator and meaning of a code (PS3.3 section 8)."""

KNOWN: Final[dict[str, ClassCode]] = {
    "covid-19": ("882784691000119100", "SCT", "Pneumonia caused by SARS-CoV-2"),
    # SNOMED CT's 233604007 "Pneumonia" would contain that of COVID-19.
    "common-pneumonia": ("other-pneumonia", PRIVATE, "Pneumonia other than COVID-19"),
    "normal": ("17621005", "SCT", "Normal"),
}
"""The project's classes. What a CT shows of COVID-19 is a pneumonia, not the disease."""


def class_code(name: str, given: Mapping[str, ClassCode]) -> CodedConcept:
    """Return the code of a class: the bundle's, else ours, else a private one of its name.

    Args:
        name: The class.
        given: `class_codes` of the bundle's manifest.
    """
    from highdicom.sr import CodedConcept

    value, scheme, meaning = given.get(name) or KNOWN.get(name) or _of_name(name)
    return CodedConcept(value, scheme, meaning)


def _of_name(name: str) -> ClassCode:
    return name[:16], PRIVATE, name[:64]
