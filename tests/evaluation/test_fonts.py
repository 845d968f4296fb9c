"""Names in letters that matplotlib's own font lacks, with and without a font that has them."""

import warnings
from io import BytesIO
from pathlib import Path

import pytest

mpl = pytest.importorskip("matplotlib")

from darnet_trt.evaluation import fonts  # noqa: E402

SCRIPT = "\U0001d49c"  # in STIX, which comes with matplotlib, and not in DejaVu Sans


@pytest.fixture
def only_own(monkeypatch):
    """A machine where nobody installed a font."""
    own = fonts._installed()[0]
    fonts._fonts_for.cache_clear()
    monkeypatch.setattr(fonts, "_installed", lambda: (own,))
    yield
    fonts._fonts_for.cache_clear()


def draw(names):
    """Draw names; a letter without a glyph is an error."""
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), fonts.lettering(names) as written:
        warnings.simplefilter("error")
        figure = Figure()
        shown = [written(name) for name in names]
        for name in shown:
            figure.text(0.1, 0.5, name)
        figure.savefig(BytesIO(), format="png")
    return shown


def test_a_font_that_has_the_letters_is_found():
    assert draw([SCRIPT, "Größe"]) == [SCRIPT, "Größe"]
    font, written = fonts.pillow_font(SCRIPT, 12)
    assert written == SCRIPT
    assert "DejaVuSans." not in Path(font.path).name
    assert fonts.missing_letters([SCRIPT]) == ""


def test_letters_that_no_font_has_are_written_out_and_said(only_own):
    assert draw(["肺炎", "正常", "a"]) == ["\\u80ba\\u708e", "\\u6b63\\u5e38", "a"]
    assert fonts.pillow_font("肺炎 87 %", 12)[1] == "\\u80ba\\u708e 87 %"
    note = fonts.missing_letters(["肺炎", "正常", "a"])
    assert all(letter in note for letter in "肺炎正常")
    assert "fonts-noto-cjk" in note


def test_names_of_files_may_hold_anything(only_own):
    assert draw(["a\nb\udcff\x1b"]) == ["a b\\udcff\\x1b"]
    assert fonts.missing_letters(["a\nb\udcff"]) == ""


def test_the_font_of_boxes_is_not_taken():
    """Last Resort, which comes with matplotlib, has every letter, as a box."""
    assert not [file for file in fonts._installed() if "LastResort" in file]


def test_the_setting_ends_with_the_drawing():
    before = mpl.rcParams["font.family"]
    draw([SCRIPT])
    assert mpl.rcParams["font.family"] == before
