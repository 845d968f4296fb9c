"""Cohorts in the folders of CC-CCII, whose slices are too small to be scans."""

import csv
import json

TINY = bytes.fromhex("89504e470d0a1a0a")  # the first bytes of a PNG


def write_scan(folder, numbers=range(4), suffix=".png"):
    """Write files that are named as slices."""
    folder.mkdir(parents=True)
    for number in numbers:
        (folder / f"{number:04d}{suffix}").write_bytes(TINY)


def write_raw(root, *, names=("NCP", "CP", "Normal"), patients=2, scans=2):
    """Write class/patient/scan/slice; patients and scans have numbers of their own."""
    number = 0
    for name in names:
        for _ in range(patients):
            number += 1
            for scan in range(scans):
                write_scan(root / name / str(number) / str(1000 + 10 * number + scan))
    return root


def write_csv(path, columns, *rows):
    """Write a table."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(","), *rows])


def corrections(root, *rows):
    """Write CT_cleaned_v2.csv."""
    columns = "cls,pid,scan_id,is_seg,is_repeat,repeat_ids,re_order"
    write_csv(root / "CT_cleaned_v2.csv", columns, *rows)


def split(path, content):
    """Write a file that divides a cohort."""
    path.write_text(json.dumps(content, indent=4))
    return path
