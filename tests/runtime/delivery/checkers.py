"""Other people's checkers of DICOM objects.

dicom3tools' dciodvfy checks the attributes of every object (PS3.3), PixelMed's DicomSRValidator
the content of a report against its templates (PS3.16), dcmtk's dsrdump prints a report as a person
reads it, and pydicom refuses values that do not suit their representation (PS3.5).

PixelMed's validator compiles 6 MB of rules for each file: 5 s of processor time, 10 s without
`-XX:TieredStopAtLevel=1`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from pydicom import config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.valuerep import STR_VR, validate_value

PIXELMED: Final = Path("/usr/share/java/pixelmed.jar")

# Java 17 refuses PixelMed's large rules unless these limits are lifted.
_JAVA: Final = (
    "java",
    *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
    *("-Djdk.xml.xpathExprGrpLimit=0", "-Djdk.xml.xpathExprOpLimit=0"),
    "-Djdk.xml.xpathTotalOpLimit=0",
    *("-cp", str(PIXELMED)),
)

_NO_UTF_8: Final = "VR checker does not support this Specific Character Set: ISO_IR 192"

has_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="no dciodvfy: install dicom3tools"
)
has_dsrdump = pytest.mark.skipif(
    shutil.which("dsrdump") is None, reason="no dsrdump: install dcmtk"
)
has_pixelmed = pytest.mark.skipif(
    shutil.which("java") is None or not PIXELMED.exists(),
    reason="no DicomSRValidator: install pixelmed-apps and default-jre-headless",
)


def dciodvfy(file: Path) -> set[str]:
    """Return the errors that dciodvfy finds: attribute and text, without the module's name.

    It ends with 0 for some of them, too.
    """
    ran = subprocess.run(["dciodvfy", "-new", file], capture_output=True, text=True, check=False)
    said = (ran.stdout + ran.stderr).splitlines()
    errors = {line.split(" - Module=")[0] for line in said if line.startswith(("Error", "Abort"))}
    assert errors or ran.returncode == 0, said
    return errors


def pixelmed(file: Path) -> list[str]:
    """Return the errors and warnings of PixelMed's validator for a report of TID 1500.

    It ends with 0 and says little where it did not check at all, so that has to be ruled out.
    """
    words = [*_JAVA, "com.pixelmed.validate.DicomSRValidator"]
    words += ["-checktemplateid", "-checkcontentitemorder", str(file)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    said = (ran.stdout + ran.stderr).splitlines()
    for stage in (
        "Found Comprehensive3DSR IOD",
        "Found Root Template TID_1500 (MeasurementReport)",
        "Root Template Validation Complete",
        "IOD validation complete",
    ):
        assert stage in said, said
    return [line for line in said if re.search("error|warning|exception", line, re.IGNORECASE)]


def dsrdump(file: Path) -> str:
    """Return a report as dcmtk prints it, with its codes; fail where it has a complaint."""
    words = ["dsrdump", "+U8", "+Pl", "+Pc", file]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    complaints = [line for line in ran.stderr.splitlines() if _NO_UTF_8 not in line]
    assert (ran.returncode, complaints) == (0, [])
    return ran.stdout


def strictly_read(file: Path) -> FileDataset:
    """Read a file with pydicom; raise ValueError for a value that does not suit its VR."""
    ds = dcmread(file)
    ds.walk(_check_values)
    return ds


def _check_values(_: Dataset, element: DataElement) -> None:
    if element.VR in STR_VR:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, str(value or ""), config.RAISE)
