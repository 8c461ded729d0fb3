"""What is written over every picture: the mark, the time and the prompt."""

from PIL import Image, ImageDraw

from reelgate.providers.sandbox.lettering import Lettering
from reelgate.providers.sandbox.planes import Planes, Stamp
from reelgate.providers.sandbox.scene import FPS

MARK = "SANDBOX"
# Sizes as shares of the picture's shorter side.
MARGIN = 0.033
BADGE_PX = 0.046
PROMPT_PX = (0.066, 0.056, 0.046, 0.038, 0.031)  # the first at which the prompt fits

RGBA = tuple[int, int, int, int]

_INK = "#ffffff"
_PANEL: RGBA = (12, 12, 18, 205)
_COVER: RGBA = (12, 12, 18, 255)
_MARK_PANEL: RGBA = (214, 40, 57, 255)


class Overlay:
    """Stamps for one picture size and prompt.

    The prompt takes `panel_share` of the height at most. `covering` hides what is under it from
    side to side: a clip made here before has its own prompt there.
    """

    def __init__(
        self, prompt: str, width: int, height: int, panel_share: float, *, covering: bool = False
    ) -> None:
        short = min(width, height)
        self._width, self._height = width, height
        self._margin = round(short * MARGIN)
        self._badge = Lettering(round(short * BADGE_PX))
        pad = self._badge.px // 3
        self._mark = self._line(MARK, _MARK_PANEL, pad, pad)
        # The clock is in two halves: one is drawn each second, the other once for each frame.
        self._second = -1
        self._clock = self._mark
        self._parts = [self._line(f"{n:02}", _PANEL, 0, pad) for n in range(FPS)]
        self._prompt = self._prompt_panel(prompt, round(height * panel_share), covering)

    @property
    def clear_top(self) -> int:
        """The first row below the badges."""
        return self._mark.height + 2 * self._margin

    @property
    def clear_bottom(self) -> int:
        """The first row of the prompt's panel, less a margin."""
        return self._height - self._prompt.height - 2 * self._margin

    def paint(self, canvas: Planes, frame: int) -> None:
        """Write over frame number `frame` of the film."""
        second, part = divmod(frame, FPS)
        if second != self._second:
            text = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}:"
            self._clock = self._line(text, _PANEL, self._badge.px // 3, 0)
            self._second = second
        parts, margin = self._parts[part], self._margin
        right = (self._width - margin - parts.width) & ~1
        self._mark.onto(canvas, margin, margin)
        parts.onto(canvas, right, margin)
        self._clock.onto(canvas, right - self._clock.width, margin)
        self._prompt.onto(canvas, margin, self._height - margin - self._prompt.height)

    def _line(self, text: str, panel: RGBA, left: int, right: int) -> Stamp:
        """One line on a panel; digits stand in columns, so that a clock does not dance."""
        letters = self._badge
        digit = max(letters.width(n) for n in "0123456789")
        steps = [digit if char.isdigit() else letters.width(char) for char in text]
        width = _even(left + sum(steps) + right)  # even: the halves of the clock must meet
        image = Image.new("RGBA", (width, _even(letters.line_px + letters.px // 3)), panel)
        draw = ImageDraw.Draw(image)
        for char, step in zip(text, steps, strict=True):
            letters.draw(draw, left, letters.px // 6, char, _INK)
            left += step
        return Stamp.of(image)

    def _prompt_panel(self, prompt: str, height_max: int, covering: bool) -> Stamp:
        letters, lines = self._fit(prompt, height_max)
        pad = letters.px // 2
        widest = max(letters.width(line) for line in lines) + 2 * pad
        width = self._width - 2 * self._margin if covering else _even(widest)
        height = _even(letters.line_px * len(lines) + pad)
        image = Image.new("RGBA", (width, height), _COVER if covering else _PANEL)
        draw = ImageDraw.Draw(image)
        for row, line in enumerate(lines):
            letters.draw(draw, pad, pad / 2 + row * letters.line_px, line, _INK)
        return Stamp.of(image)

    def _fit(self, prompt: str, height_max: int) -> tuple[Lettering, list[str]]:
        """The biggest letters in which the prompt fits; cut short in the smallest."""
        short = min(self._width, self._height)
        *bigger, smallest = (Lettering(round(short * share)) for share in PROMPT_PX)
        for letters in bigger:
            lines, fits = self._wrap(letters, prompt, height_max)
            if fits:
                return letters, lines
        return smallest, self._wrap(smallest, prompt, height_max)[0]

    def _wrap(self, letters: Lettering, prompt: str, height_max: int) -> tuple[list[str], bool]:
        pad = letters.px // 2
        lines_max = max(1, (height_max - pad) // letters.line_px)
        return letters.wrap(prompt, self._width - 2 * self._margin - 2 * pad, lines_max)


def _even(n: int) -> int:
    return (n + 1) & ~1
