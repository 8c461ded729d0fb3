"""Text in any script, on a machine with whatever fonts it has.

Each character is drawn with the first font that knows it. A character that no font knows is
drawn as its code in a small frame, the way browsers do: never a blank.
"""

import unicodedata
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont

# Looked up by name in the system's font folders, in this order; any may be missing.
SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "unifont.otf",
)
FONT_PX_MIN = 8
ELLIPSIS = "…"

# No font has it, so what is drawn for it is what is drawn for any unknown character.
_UNKNOWN = "\U0010fffd"
# Joiners, marks and controls: an unknown one is left out, for it has no shape of its own.
_SHAPELESS = ("Cc", "Cf", "Mn", "Me")


class Lettering:
    """Measures and draws lines of text at one size, in pixels."""

    def __init__(self, px: int) -> None:
        self.px = max(px, FONT_PX_MIN)
        self.line_px = round(self.px * 1.32)
        self._code_px = round(self.px * 1.1)  # the width of a framed code
        self._code_font = _bundled(max(round(self.px * 0.42), 5))
        self._known: dict[tuple[Font, str], bool] = {}

    def width(self, text: str) -> int:
        """How many pixels a line is wide."""
        return round(sum(self._run_width(font, run) for font, run in self._runs(text)))

    def draw(self, onto: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: str) -> None:
        """Draw one line with its upper left corner here."""
        for font, run in self._runs(text):
            if font is None:
                self._draw_codes(onto, x, y, run, fill)
            else:
                onto.text((x, y + self.px), run, fill=fill, font=font, anchor="ls")
            x += self._run_width(font, run)

    def wrap(self, text: str, width: int, lines_max: int) -> tuple[list[str], bool]:
        """Lines no wider than this, and whether all of the text fitted into that many."""
        lines: list[str] = []
        line = ""
        for word in text.split():
            longer = f"{line} {word}" if line else word
            if self.width(longer) <= width:
                line = longer
                continue
            *full, rest = self._break(word, width)
            lines += [line, *full] if line else full
            line = rest
            if len(lines) > lines_max:
                break
        lines.append(line)
        if len(lines) <= lines_max:
            return lines, True
        return [*lines[: lines_max - 1], self._shorten(lines[lines_max - 1], width)], False

    def _break(self, word: str, width: int) -> list[str]:
        """A word too long for a line, or a script without spaces, in pieces that fit."""
        pieces = [""]
        used = 0
        for char in word:
            advance = self.width(char)
            if pieces[-1] and used + advance > width:
                pieces.append("")
                used = 0
            pieces[-1] += char
            used += advance
        return pieces

    def _shorten(self, line: str, width: int) -> str:
        while line and self.width(line + ELLIPSIS) > width:
            line = line[:-1]
        return line + ELLIPSIS

    def _runs(self, text: str) -> Iterator[tuple[Font | None, str]]:
        """The text in stretches of one font each; None for what no font knows.

        A stretch is as long as its font allows, so that a right-to-left sentence is laid out
        as one.
        """
        font: Font | None = None
        fonts: list[tuple[Font | None, str]] = []
        for char in text:
            if font is None or not self._knows(font, char):
                font = next((f for f in self._fonts() if self._knows(f, char)), None)
            if font is not None or unicodedata.category(char) not in _SHAPELESS:
                fonts.append((font, char))
        for font, pairs in groupby(fonts, key=lambda pair: pair[0]):
            yield font, "".join(char for _, char in pairs)

    def _run_width(self, font: Font | None, run: str) -> float:
        return len(run) * self._code_px if font is None else font.getlength(run)

    def _draw_codes(
        self, onto: ImageDraw.ImageDraw, x: float, y: float, run: str, fill: str
    ) -> None:
        top, bottom = y + self.px * 0.1, y + self.px * 1.15
        for char in run:
            code = f"{ord(char):04X}"
            half = (len(code) + 1) // 2
            onto.rectangle((x + 1, top, x + self._code_px - 2, bottom), outline=fill)
            for part, share in ((code[:half], 0.28), (code[half:], 0.72)):
                middle = (x + self._code_px / 2, top + (bottom - top) * share)
                onto.text(middle, part, fill=fill, font=self._code_font, anchor="mm")
            x += self._code_px

    def _knows(self, font: Font, char: str) -> bool:
        key = (font, char)
        if key not in self._known:
            self._known[key] = char.isspace() or _has_glyph(font, char)
        return self._known[key]

    def _fonts(self) -> Iterator[Font]:
        yield self._own
        yield from self._system

    @cached_property
    def _own(self) -> Font:
        return _bundled(self.px)

    @cached_property
    def _system(self) -> list[Font]:
        """Asked for only when the bundled font lacks something: finding them takes time."""
        fonts = []
        for name in SYSTEM_FONTS:
            try:
                fonts.append(ImageFont.truetype(name, self.px))
            except OSError:
                continue
        return fonts


def _bundled(px: int) -> Font:
    font = ImageFont.load_default(px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this build of Pillow has no FreeType: install its wheel")
    return font


def _has_glyph(font: Font, char: str) -> bool:
    """Whether the font has a shape of its own for this character."""
    if unicodedata.category(char) == "Cs":  # half a surrogate pair: no font takes it
        return False
    # Without shaping, which would lend an unknown mark a dotted circle to sit on.
    plain = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return _shape(plain, char) != _shape(plain, _UNKNOWN)


def _shape(font: Font, char: str) -> bytes:
    image = Image.new("L", (round(font.size * 2), round(font.size * 2)))
    ImageDraw.Draw(image).text((font.size / 2, font.size / 2), char, fill=255, font=font)
    return image.tobytes()
