"""Pictures that a clip begins with: read, turned upright, and fitted to the clip's size."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as pillow
from PIL import ImageOps, UnidentifiedImageError

from sorajax.errors import InputError

SMALLEST = 16
"""Pixels of the shorter side below which a picture is refused."""
LONGEST = 4
"""Times its shorter side that a picture may be long."""


@dataclass(frozen=True)
class Image:
    """Pixels uint8 [h, w, 3], and the SHA-256 of the file, or of the pixels where there was none."""

    pixels: np.ndarray
    digest: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def fitted(self, size: tuple[int, int]) -> np.ndarray:
        """f32 [h, w, 3] in [-1, 1]: scaled to cover (width, height) and cut alike on both sides; no pixel of a picture
        of that size is changed."""
        pixels = self.pixels
        if self.size != size:
            pixels = np.asarray(ImageOps.fit(pillow.fromarray(pixels), size, pillow.Resampling.LANCZOS))
        return pixels.astype(np.float32) / 127.5 - 1


def read_image(image: Any) -> Image:
    """A picture of a file's path, a PIL image, or an array uint8 [h, w, 3]; transparent parts become white.

    Raises InputError if it is none, or is too small or too long for a clip.
    """
    if isinstance(image, (str, Path)):
        path = Path(image).expanduser()
        try:
            data = path.read_bytes()
            with pillow.open(path) as opened:
                found = Image(_pixels(ImageOps.exif_transpose(opened)), hashlib.sha256(data).hexdigest())
        except FileNotFoundError:
            raise InputError(f"no image at {str(path)!r}; name a PNG, JPEG or WebP file") from None
        except (UnidentifiedImageError, OSError, ValueError, pillow.DecompressionBombError) as error:
            raise InputError(f"{path} is not a readable image ({error}); name a PNG, JPEG or WebP file") from None
    elif isinstance(image, pillow.Image):
        found = _of_pixels(_pixels(image))
    else:
        array = np.asarray(image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
            raise InputError(
                f"image is {array.dtype} of shape {array.shape}; give a file's path, a PIL image, or uint8 [h, w, 3]"
            )
        found = _of_pixels(array)
    (width, height), short = found.size, min(found.size)
    if short < SMALLEST or max(found.size) > LONGEST * short:
        raise InputError(
            f"image of {width}x{height} pixels: a clip begins with one of at least {SMALLEST} pixels a side, and at "
            f"most {LONGEST} times as long as it is wide; scale or cut it"
        )
    return found


def _pixels(image: pillow.Image) -> np.ndarray:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _of_pixels(pixels: np.ndarray) -> Image:
    return Image(pixels, hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest())
