r"""Find installed fonts for the letters of names, and write out the letters that none has.

matplotlib's own font, DejaVu Sans, has Latin, Greek, Cyrillic, Arabic and more, but no Chinese,
Japanese or Korean. Of a list of families matplotlib takes each letter from the first one that has
it; it looks for no other by itself, and draws a box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_NO_FONTS: Final = "LastResort"  # matplotlib's font of boxes: it has every letter
_SPECIAL: Final = ("Bold", "Italic", "Oblique", "Black", "Light", "Thin", "Mono", "Serif")
_NAMED: Final = 10  # letters in the note


@contextmanager
def lettering(texts: Iterable[str]) -> Iterator[Callable[[str], str]]:
    """Have matplotlib draw with fonts that have the letters of these texts.

    Yields:
        Gives a text as it is to be drawn: a letter that no font has, or that is no letter, is
        written out, as in \\u80ba.
    """
    import matplotlib as mpl
    from matplotlib.font_manager import fontManager

    files, lacking = _fonts_for(frozenset("".join(texts)))
    families = []
    for file in files:
        if all(entry.fname != file for entry in fontManager.ttflist):
            fontManager.addfont(file)
        families.append(next(e.name for e in fontManager.ttflist if e.fname == file))
    with mpl.rc_context({"font.family": families}):
        yield lambda text: _written_out(text, lacking)


def pillow_font(text: str, size: int) -> tuple[FreeTypeFont, str]:
    """Return the font that has most letters of a text, and the text as it is to be drawn.

    Pillow draws a text in one font.
    """
    letters = frozenset(text)
    file = max(_fonts_for(letters)[0], key=lambda one: len(_had(one, letters)))
    return _opened(file, size), _written_out(text, letters - _had(file, letters))


def missing_letters(texts: Iterable[str]) -> str:
    """Return a note about the letters that no installed font has; empty where there are none."""
    lacking = sorted(_fonts_for(frozenset("".join(texts)))[1])
    if not lacking:
        return ""
    named = "".join(lacking[:_NAMED]) + "…" * (len(lacking) > _NAMED)
    return (
        f"no font here has the letters {named}: the pictures write them out, as in "
        f"{_escape(lacking[0])}; install a font that has them (Debian: fonts-noto-cjk for Chinese, "
        "Japanese and Korean, fonts-noto-core for others)"
    )


def _written_out(text: str, lacking: frozenset[str]) -> str:
    return "".join(
        " " if c.isspace() else c if c.isprintable() and c not in lacking else _escape(c)
        for c in text
    )


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


@cache
def _fonts_for(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the files of the fonts to use, matplotlib's own first, and the letters none has."""
    own, *others = _installed()
    files, left = [own], frozenset(filter(str.isprintable, letters)) - _had(own, letters)
    having = {file: _had(file, left) for file in others} if left else {}
    while any(having[file] & left for file in having):
        best = max(having, key=lambda file: len(having[file] & left))
        files.append(best)
        left -= having[best]
    return tuple(files), left


@cache
def _installed() -> tuple[str, ...]:
    """Return the files of all fonts: matplotlib's own, then plain ones before bold ones."""
    from matplotlib.font_manager import findfont, findSystemFonts, fontManager

    own = str(findfont("DejaVu Sans"))
    # matplotlib keeps its list between runs, so that a new font may be missing from it.
    files = {str(entry.fname) for entry in fontManager.ttflist} | set(findSystemFonts())
    plain = sorted(
        (file for file in files - {own} if _NO_FONTS not in file),
        key=lambda file: (sum(word in Path(file).name for word in _SPECIAL), file),
    )
    return own, *plain


@cache
def _had(file: str, letters: frozenset[str]) -> frozenset[str]:
    """Return which of the letters a font has."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
    except (OSError, RuntimeError):  # no font, or a damaged one
        return frozenset()
    return frozenset(c for c in letters if font.get_char_index(ord(c)))


@cache
def _opened(file: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(file, size)
