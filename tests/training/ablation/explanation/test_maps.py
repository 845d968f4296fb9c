"""The figure of the maps says in words what its colours cannot, and no text is cut."""

import numpy as np
import pytest
from PIL import ImageDraw

pytest.importorskip("matplotlib")

from darnet_trt.training.ablation.explanation.maps import GAP, TILE, Row, draw_maps

SHAPE = (9, 33, 33)


@pytest.fixture
def texts(monkeypatch):
    """What is written, with where it begins and ends."""
    found = {}
    write = ImageDraw.ImageDraw.text

    def text(self, xy, text, fill=None, font=None, anchor=None, **more):
        left, _, right, bottom = self.textbbox(xy, text, font, anchor)
        found.setdefault(text, []).append((left, right, bottom))
        write(self, xy, text, fill, font, anchor, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


def row(*maps, name="a/1.nii.gz", label="covid-19"):
    volume = np.full(SHAPE, 0.4, np.float32)
    return Row(name, label, volume, maps, tuple(0.87 for _ in maps))


def uneven(at):
    cam = np.zeros((2, 3, 3), np.float32)
    cam[at] = 1
    return cam


def test_a_map_without_evidence_or_without_differences_is_said_in_words(texts):
    none, same = np.full((2, 3, 3), -1, np.float32), np.full((2, 3, 3), 0.5, np.float32)
    draw_maps([row(uneven((0, 1, 1)), none, none * 0, same)], ["A", "B", "C", "D"])
    column = TILE + GAP
    words = {text: [left // column for left, *_ in at] for text, at in texts.items()}
    assert words["no evidence in any slice"] == [2, 3]
    assert words["the same evidence everywhere"] == [4]
    assert "evidence in other slices" not in words


def test_evidence_in_other_slices_is_said(texts):
    first, last = uneven((0, 1, 1)), uneven((1, 1, 1))
    draw_maps([row(first, last, last)], ["A", "B", "C"])
    assert len(texts["evidence in other slices"]) == 1


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("label", ["x", "a class whose name has forty letters abc"])
def test_no_text_is_cut(texts, columns, label):
    name = "patients/with/a/long/path/P000123456/scan-1.nii.gz"
    note = "Trained on a cohort that gives its classes away: matrix, file-type, slice-count."
    rows = [row(*[uneven((0, 1, 1))] * columns, name=name, label=label)]
    page = draw_maps(rows, ["network"] * columns, note)
    ends = []
    for text, places in texts.items():
        for left, right, bottom in places:
            assert left >= 0
            assert right <= page.width
            assert bottom <= page.height
            if text.endswith(("%", "of 9")):
                ends.append(text)
                assert right <= left + TILE + GAP
    assert len(ends) == 1 + columns
    assert ends[0].startswith("patients/")
    assert all(text.startswith(label[:5]) and text.endswith(" 87 %") for text in ends[1:])
    below = " ".join(texts)
    assert f"Not for diagnosis. {note}" in below
