"""Where a NIfTI header places its voxels: the sform, else the qform, else nothing certain.

This is nibabel's order, and that of the tools built on it (TotalSegmentator, nnU-Net's reader for
NIfTI); ITK takes the qform in some cases where both are set. So a file whose two forms disagree
is read as two different scans, and says so here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.scan.volume_files.geometry import ROUNDED, ROUNDED_DEG, voxel_sizes_differ
from darnet_trt.scan.volume_files.header import Matrix, nearest

ROUNDED_QUATERNION: Final = 1.01
"""Writers round quaternions: one this long still is a unit quaternion."""
_UNIT_MM: Final = {1: 1000.0, 3: 0.001}
"""xyzt_units: metres and micrometres; everything else means millimetres."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the voxels lie.

    Attributes:
        affine: 4×4, from indices i j k to LPS mm.
        oriented: Whether the header says how the axes lie in the patient.
        refusal: Why the affine is not to be trusted.
        warnings: What is unusual about it.
    """

    affine: Matrix
    oriented: bool = True
    refusal: Finding | None = None
    warnings: tuple[Finding, ...] = ()


def place(header: Any, coded: bool) -> Placement:
    """Return the placement of a header's voxels.

    Args:
        header: nibabel's; its pixdim and quaternion are corrected in place.
        coded: Whether it has a qform and an sform; ANALYZE has none.

    Raises:
        HeaderDataError: It has only a qform, which is no rotation.
    """
    warnings = []
    given = header["pixdim"][1:4].tolist()
    _correct(header)
    has_sform = coded and header["sform_code"] != 0
    has_qform = coded and header["qform_code"] != 0
    refusal = None
    if has_sform:
        ras = np.array(header.get_sform(), np.float64)
        differ = None
        if all(mm > 0 for mm in given):
            lengths = np.linalg.norm(ras[:3, :3], axis=0)
            differ = voxel_sizes_differ("pixdim", given, "the sform", lengths)
        refusal = _placeholder(ras) if differ else None
        note = (_compare(ras, _qform(header)) if has_qform else None) or differ
        if note is not None and note.code == "sform-or-qform":
            refusal = refusal or note
        elif note is not None:
            warnings.append(note)
    else:
        ras = np.array(header.get_qform() if has_qform else header.get_base_affine(), np.float64)
        if any(mm < 0 for mm in given):
            listed = "×".join(f"{mm:.3g}" for mm in given)
            text = f"pixdim holds negative voxel sizes ({listed}): they were read without the sign"
            warnings.append(Finding("negative-voxel-size", text))
    unit_mm = _UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0) if coded else 1.0
    lps = np.diag([-unit_mm, -unit_mm, unit_mm, 1.0]) @ ras
    return Placement(lps, bool(has_sform or has_qform), refusal, tuple(warnings))


def _correct(header: Any) -> None:
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # the standard reads 0 as 1
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    names = ["quatern_b", "quatern_c", "quatern_d"]
    length = math.hypot(*(float(header[name]) for name in names))
    if 1 < length < ROUNDED_QUATERNION:
        for name in names:
            header[name] /= length


def _qform(header: Any) -> Matrix | None:
    from nibabel.spatialimages import HeaderDataError

    try:
        qform = np.array(header.get_qform(), np.float64)
    except (HeaderDataError, ValueError):
        return None
    return qform if np.isfinite(qform).all() else None


def _compare(sform: Matrix, qform: Matrix | None) -> Finding | None:
    """Return the finding where the two forms differ, or the qform is none."""
    if qform is None or not np.linalg.norm(qform[:3, :3], axis=0).all():
        return Finding("sform-taken", "its qform cannot be used: the sform was taken")
    if not np.isfinite(sform).all() or not np.linalg.norm(sform[:3, :3], axis=0).all():
        return None  # the caller refuses it
    names = [_towards(form) for form in (sform, qform)]
    if names[0] != names[1]:
        return Finding(
            "sform-or-qform",
            f"its sform and qform contradict each other (axes to {names[0]} and to {names[1]}): "
            "delete the wrong one, or convert the original scan again",
        )
    lengths = [np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform)]
    cosines = (sform[:3, :3] * qform[:3, :3]).sum(axis=0) / (lengths[0] * lengths[1])
    angle_deg = float(np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))))
    away_mm = float(np.linalg.norm(sform[:3, 3] - qform[:3, 3]))
    if (
        angle_deg <= ROUNDED_DEG
        and np.allclose(lengths[0], lengths[1], rtol=ROUNDED, atol=0)
        and away_mm <= lengths[0].max()
    ):
        return None
    return Finding(
        "sform-taken",
        f"its sform and qform differ (by {angle_deg:.1f}° and {away_mm:.1f} mm): "
        "the sform was taken",
    )


def _towards(form: Matrix) -> str:
    """Return where the axes point, as nibabel names it: "LPS"."""
    axes = nearest(form[:3, :3])
    ends = (bool(form[axis, column] > 0) for column, axis in enumerate(axes))
    return "".join(("LR", "PA", "IS")[axis][end] for axis, end in zip(axes, ends, strict=True))


def _placeholder(sform: Matrix) -> Finding | None:
    """Return the refusal where the matrix is an identity, and pixdim gives other voxel sizes."""
    unit = np.eye(3)[:, nearest(sform[:3, :3])]
    if not np.allclose(np.abs(sform[:3, :3]), unit, rtol=0, atol=1e-6):
        return None
    return Finding(
        "placeholder-geometry",
        "an identity matrix as sform, which pixdim contradicts: nobody entered the scan's "
        "geometry; write it again with the scanner's affine and voxel sizes",
    )
