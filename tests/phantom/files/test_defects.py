"""Scans as CC-CCII has them, and how its cleaned form describes them."""

import re

from darnet_trt.phantom.files.defects import draw_defect

COUNT = 40
DEFECTS = [draw_defect(0, index, COUNT) for index in range(200)]


def numbers(text):
    """The file numbers that "0-4;9" or "15-20+0-14" names."""
    parts = [part.split("-") for part in re.split("[;+]", text)]
    return [i for part in parts for i in range(int(part[0]), int(part[-1]) + 1)]


def true_order(files, row):
    """Put a scan right as the authors of the cleaned form do: order first, then leave out."""
    _, is_repeat, repeat_ids, re_order = row
    order = list(range(files))
    if re_order == "reverse":
        order.reverse()
    elif re_order:
        order = numbers(re_order)
    if repeat_ids == "discard":
        return []
    assert bool(is_repeat) == bool(repeat_ids)
    return [i for i in order if i not in (numbers(repeat_ids) if repeat_ids else ())]


def test_the_table_leads_back_to_every_slice_from_head_to_foot():
    for defect in DEFECTS:
        kept = true_order(len(defect.slices), defect.row)
        assert tuple(kept) == defect.kept
        if not defect.discarded:
            assert [defect.slices[i] for i in kept] == list(range(COUNT))


def test_every_defect_occurs_whatever_the_class():
    rows = [defect.row for defect in DEFECTS]
    assert sum(row == (0, 0, "", "") for row in rows) == 110
    assert sum(row[0] for row in rows) == 30
    assert sum(row[3] == "reverse" for row in rows) == 20
    assert sum("+" in row[3] and not row[1] for row in rows) == 10
    assert sum("+" in row[3] and bool(row[1]) for row in rows) == 10
    assert sum(row[2] == "discard" for row in rows) == 10
    assert any(";" in row[2] for row in rows)
