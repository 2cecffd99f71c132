"""The drawn backgrounds of the procedural world: eight places in smooth shapes and bold colours.

A scene is drawn once, at eight times the size, and averaged down. Units are those of a 64-pixel frame: y runs
from 0 (top) to 64, x from -MARGIN to 64 + MARGIN, the margin being what a panning camera reaches.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

UNITS = 64
MARGIN = 8
OVERSAMPLE = 8
GROUND = 57
"""Height at which things stand, in units from the top."""

Color = tuple[int, int, int]


class Canvas:
    """A large picture addressed in world units, with the few shapes that the scenes need."""

    def __init__(self, size: int) -> None:
        self.unit = OVERSAMPLE * size / UNITS
        width, height = round((UNITS + 2 * MARGIN) * self.unit), round(UNITS * self.unit)
        self.image = Image.new("RGB", (width, height))
        self.draw = ImageDraw.Draw(self.image)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (x + MARGIN) * self.unit, y * self.unit

    def gradient(self, top: float, bottom: float, *colors: Color) -> None:
        """Horizontal bands from `top` to `bottom` that fade through the colours."""
        first, last = round(top * self.unit), round(bottom * self.unit)
        t = np.linspace(0, len(colors) - 1, last - first)
        rows = np.stack([np.interp(t, range(len(colors)), [c[i] for c in colors]) for i in range(3)], -1)
        band = np.broadcast_to(rows[:, None], (last - first, self.image.width, 3))
        self.image.paste(Image.fromarray(np.ascontiguousarray(band).round().astype(np.uint8)), (0, first))

    def disc(self, x: float, y: float, radius: float, color: Color, stretch: float = 1.0) -> None:
        self.draw.ellipse(
            [*self.at(x - radius * stretch, y - radius), *self.at(x + radius * stretch, y + radius)], color
        )

    def box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        self.draw.rectangle([*self.at(left, top), *self.at(right, bottom)], color)

    def shape(self, points: list[tuple[float, float]], color: Color) -> None:
        self.draw.polygon([self.at(x, y) for x, y in points], color)

    def beam(self, points: list[tuple[float, float]], fade: float, color: Color) -> None:
        """A shape whose colour fades from half at the top to nothing at `fade` units down."""
        shape = Image.new("L", self.image.size)
        ImageDraw.Draw(shape).polygon([self.at(x, y) for x, y in points], 255)
        weight = np.clip(1 - np.arange(self.image.height) / (fade * self.unit), 0, 1)[:, None] * 0.5
        mask = Image.fromarray((np.asarray(shape) * weight).astype(np.uint8))
        self.image.paste(color, (0, 0), mask)

    def below(self, line: Callable[[float], float], color: Color) -> None:
        """Everything under the curve y = line(x)."""
        xs = np.linspace(-MARGIN, UNITS + MARGIN, 161)
        self.shape([(-MARGIN, UNITS), *((x, line(x)) for x in xs), (UNITS + MARGIN, UNITS)], color)

    def pixels(self) -> np.ndarray:
        """uint8 [size, size * (1 + 2 * MARGIN / UNITS), 3]."""
        width, height = self.image.width // OVERSAMPLE, self.image.height // OVERSAMPLE
        return np.asarray(self.image.resize((width, height), Image.Resampling.BOX))


def _cloud(c: Canvas, x: float, y: float, color: Color = (255, 255, 255)) -> None:
    c.disc(x - 4, y + 0.8, 2.6, color, 1.3)
    c.disc(x + 4, y + 0.8, 2.6, color, 1.3)
    c.disc(x, y - 0.6, 3.8, color, 1.2)


def _meadow(c: Canvas) -> None:
    c.gradient(0, 44, (64, 156, 255), (176, 222, 255))
    c.disc(8, 9, 6, (255, 224, 70))
    _cloud(c, 30, 10)
    _cloud(c, 55, 16)
    c.below(lambda x: 40 - 6 * math.sin((x + 6) / 13), (120, 205, 90))
    c.below(lambda x: 45 + 3 * math.sin((x - 4) / 11), (86, 180, 66))
    for x, y, color in (
        (2, 60, (255, 255, 255)),
        (16, 61.5, (255, 120, 160)),
        (47, 61.5, (255, 255, 255)),
        (60, 60, (255, 120, 160)),
    ):
        c.disc(x, y, 1.4, color)


def _night(c: Canvas) -> None:
    c.gradient(0, 50, (12, 18, 62), (38, 52, 126))
    c.disc(52, 12, 7.5, (250, 244, 200))
    c.disc(55.5, 10.5, 6.6, (18, 26, 76))
    for x, y in ((5, 8), (17, 18), (27, 6), (37, 15), (10, 28), (60, 28), (33, 27), (-4, 20), (68, 6)):
        c.disc(x, y, 0.9, (255, 255, 225))
    c.below(lambda x: 45 - 5 * math.sin((x - 8) / 12), (36, 58, 110))
    c.below(lambda x: 50 + 2 * math.sin(x / 9), (32, 82, 80))


def _beach(c: Canvas) -> None:
    c.gradient(0, 35, (148, 60, 130), (250, 110, 80), (255, 196, 92))
    c.disc(46, 34, 11, (255, 240, 150))
    c.gradient(35, 50, (214, 92, 104), (84, 70, 144))
    c.box(38, 37, 54, 38.2, (255, 214, 130))
    c.box(41, 40, 51, 41.2, (255, 196, 120))
    c.below(lambda x: 46.5 + 1.2 * math.sin(x / 5), (246, 214, 180))
    c.below(lambda x: 48 + 1.2 * math.sin(x / 5), (226, 172, 112))
    # A palm on the left.
    c.shape([(3, 47), (4.6, 28), (6.2, 28), (6.4, 47)], (92, 54, 48))
    for dx, dy in ((-9, 3), (-7, -4), (9, 3), (8, -4), (0, -7)):
        c.shape([(5.4, 26), (5.4 + dx * 0.6 - 1, 26 + dy * 0.9 - 2.4), (5.4 + dx, 26 + dy), (5.4, 29)], (44, 92, 70))


def _pine(c: Canvas, x: float, foot: float, height: float, color: Color) -> None:
    c.box(x - 0.8, foot - 1, x + 0.8, foot + 2, (96, 66, 52))
    for k in range(3):
        top, half = foot - height + k * height * 0.26, height * (0.2 + 0.08 * k)
        c.shape([(x, top), (x + half, top + height * 0.46), (x - half, top + height * 0.46)], color)
        c.shape([(x, top), (x + half * 0.5, top + height * 0.2), (x - half * 0.5, top + height * 0.2)], (255, 255, 255))


def _snow(c: Canvas) -> None:
    c.gradient(0, 52, (150, 176, 204), (228, 237, 246))
    c.shape([(10, 44), (27, 17), (46, 44)], (128, 150, 184))
    c.shape([(27, 17), (31.5, 24), (27, 26), (22.6, 24)], (252, 254, 255))
    c.below(lambda x: 43 + 3 * math.sin((x + 20) / 14), (236, 243, 250))
    _pine(c, 5, 46, 24, (36, 96, 84))
    _pine(c, 58, 46, 26, (36, 96, 84))
    _pine(c, 48, 45, 15, (62, 122, 108))
    _pine(c, -5, 46, 18, (62, 122, 108))
    _pine(c, 69, 46, 18, (62, 122, 108))
    c.below(lambda x: 49 + 1.5 * math.sin((x - 20) / 10), (250, 252, 255))


def _sea(c: Canvas) -> None:
    c.gradient(0, 64, (70, 214, 226), (16, 140, 190), (8, 84, 150))
    for x in (8, 30, 52):
        c.beam([(x, 0), (x + 6, 0), (x - 5, 36), (x - 13, 36)], 36, (170, 250, 240))
    c.below(lambda x: 55 + 1.8 * math.sin((x + 4) / 8), (226, 206, 150))
    for x, height in ((2, 22), (7, 15), (61, 24), (56, 14)):
        wave = [(x + 1.6 * math.sin((58 - y) / 3.2), y) for y in np.linspace(60, 60 - height, 24).tolist()]
        c.shape([(px - 1.5, py) for px, py in wave] + [(px + 1.5, py) for px, py in wave[::-1]], (30, 150, 96))
    c.disc(20, 58, 3.4, (240, 110, 130), 1.3)
    c.disc(43, 59, 2.8, (250, 150, 80), 1.3)


def _city(c: Canvas) -> None:
    c.gradient(0, 54, (62, 36, 110), (176, 70, 150), (250, 140, 140))
    far = ((-8, 30), (2, 24), (12, 34), (22, 20), (31, 32), (40, 26), (50, 34), (58, 22), (66, 30))
    for x, top in far:
        c.box(x, top, x + 8.4, 54, (112, 56, 132))
    near = ((-6, 38, 9), (5, 30, 10), (17, 40, 9), (37, 38, 9), (48, 28, 11), (61, 40, 12))
    for x, top, width in near:
        c.box(x, top, x + width, 54, (48, 30, 82))
        for wy in np.arange(top + 2, 48, 4.6):
            for wx in np.arange(x + 1.6, x + width - 1.6, 3.4):
                c.box(wx, wy, wx + 1.6, wy + 2.2, (255, 214, 110))
    c.box(-MARGIN, 52, UNITS + MARGIN, 54, (150, 136, 160))
    c.box(-MARGIN, 54, UNITS + MARGIN, UNITS, (72, 66, 90))
    for x in range(-6, 72, 12):
        c.box(x, 60, x + 6, 61.2, (236, 220, 160))


def _cactus(c: Canvas, x: float, foot: float, height: float) -> None:
    green = (58, 138, 84)
    c.box(x - 1.6, foot - height, x + 1.6, foot, green)
    c.disc(x, foot - height, 1.6, green)
    for side, low, high in ((-1, 0.4, 0.75), (1, 0.5, 0.9)):
        arm = x + side * 4.4
        y0, y1 = foot - height * low, foot - height * high
        c.box(min(x, arm), y0 - 1.2, max(x, arm), y0 + 1.2, green)
        c.box(arm - 1.2, y1, arm + 1.2, y0 + 1.2, green)
        c.disc(arm, y1, 1.2, green)


def _desert(c: Canvas) -> None:
    c.gradient(0, 52, (255, 196, 110), (255, 240, 200))
    c.disc(30, 12, 6.5, (255, 250, 235))
    c.shape([(-8, 44), (-8, 30), (6, 30), (10, 44)], (206, 112, 72))
    c.shape([(36, 46), (41, 28), (58, 28), (64, 46)], (206, 112, 72))
    c.shape([(52, 28), (58, 28), (64, 46), (57, 46)], (180, 92, 62))
    c.below(lambda x: 43 + 4 * math.sin((x + 14) / 12), (232, 164, 84))
    _cactus(c, 9, 50, 17)
    _cactus(c, 57, 49, 13)
    c.below(lambda x: 50 + 2 * math.sin((x - 10) / 13), (240, 184, 104))


def _forest(c: Canvas) -> None:
    c.gradient(0, 64, (96, 158, 92), (190, 214, 130))
    for x in (-2, 14, 29, 41, 57, 68):
        c.box(x - 1.6, 6, x + 1.6, 50, (104, 128, 78))
    for x in (4, 21, 49, 63):
        c.shape([(x - 2.4, 6), (x + 2.4, 6), (x + 3.6, 54), (x - 3.6, 54)], (104, 66, 40))
    for k, x in enumerate(range(-8, 76, 9)):
        c.disc(x, 3 + 3 * (k % 2), 9, (24, 92, 48), 1.1)
    for k, x in enumerate(range(-4, 76, 11)):
        c.disc(x, 0 + 2 * (k % 2), 7, (40, 122, 60), 1.1)
    c.below(lambda x: 50 + 1.5 * math.sin(x / 7), (58, 112, 48))
    c.below(lambda x: 55 + 1.2 * math.sin((x + 10) / 9), (88, 78, 44))
    for x in (-3, 12, 36, 58, 70):
        c.disc(x, 51, 3, (38, 104, 52), 1.5)


SCENES: dict[str, Callable[[Canvas], None]] = {
    "meadow": _meadow,
    "night": _night,
    "beach": _beach,
    "snow": _snow,
    "sea": _sea,
    "city": _city,
    "desert": _desert,
    "forest": _forest,
}


@functools.lru_cache(maxsize=64)
def background(scene: str, size: int = UNITS) -> np.ndarray:
    """The scene with its side margins, uint8 [size, size * 1.25, 3]; shared, so not to be written to."""
    canvas = Canvas(size)
    SCENES[scene](canvas)
    pixels = canvas.pixels()
    pixels.flags.writeable = False
    return pixels
