"""Reading still pictures and short animations (PNG, JPEG, WebP, GIF) with Pillow, told which decoder to use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance import formats
from provenance.errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PIXELS = 178_000_000
"""A larger picture is refused: a small file can claim any size. Cameras make up to 150 million."""


@dataclass(frozen=True, kw_only=True)
class StillInfo:
    """What a file says of itself."""

    width: int
    height: int
    animated: bool


def probe(path: str | os.PathLike) -> StillInfo:
    """Size and kind, without decoding pixels.

    Raises:
        MediaError: as ``formats.of``, not a still, damaged, or too large.
    """
    with _opened(path) as picture:
        return StillInfo(
            width=picture.width, height=picture.height, animated=bool(getattr(picture, "is_animated", False))
        )


def read_frames(path: str | os.PathLike) -> "Iterator[NDArray[np.uint8]]":
    """Every picture as uint8 [h, w, 3], RGB, one at a time, turned as it is meant to be seen; a still has one.

    Raises:
        MediaError: as ``probe``, or pictures that cannot be decoded.
    """
    import numpy as np
    from PIL import ImageOps

    with _opened(path) as picture:
        index = 0
        while True:
            try:
                picture.seek(index)
                shown = ImageOps.exif_transpose(picture) if index == 0 else picture
                yield np.asarray(shown.convert("RGB"), np.uint8)
            except EOFError:
                return
            except Exception as error:  # Pillow raises whatever its decoders meet: OSError, SyntaxError, struct.error
                raise MediaError(f"its picture cannot be decoded: {_reason(error)}") from None
            index += 1


@contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Any]:
    import warnings

    from PIL import Image

    format = formats.of(path)
    if format.reader is None:
        raise MediaError(f"not a picture but {format.name}")
    with Path(path).open("rb") as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about sizes (judged below) and about damaged tags
                picture = Image.open(file, formats=(format.reader,))
        except Exception as error:  # as above
            raise MediaError(f"damaged: not {format.name} inside ({_reason(error)}); fetch it again") from None
        with picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise MediaError(
                    f"pictures of {picture.width}x{picture.height} are refused; the limit is {MAX_PIXELS} pixels"
                )
            yield picture


def _reason(error: BaseException) -> str:
    # Pillow names the open file object in some messages.
    return (
        "no picture that Pillow knows"
        if type(error).__name__ == "UnidentifiedImageError"
        else (" ".join(str(error).split())[:200] or type(error).__name__)
    )
