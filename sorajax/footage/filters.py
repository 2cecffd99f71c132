"""Which scenes are worth training on, and why the others are not."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from sorajax.errors import ConfigError
from sorajax.footage.scan import Scene

BITS = 6
"""Up to which distance ``Likenesses`` finds everything."""


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Limits; a scene beyond one of them is dropped, and the report says which. Pictures have no time or motion."""

    min_seconds: float = 1.0
    max_seconds: float = 10.0
    """Longer scenes are cut into parts of one length."""
    min_side: int = 64
    """The shorter side, in pixels."""
    min_luma: float = 16.0
    """Mean brightness of 255: below it is black."""
    max_luma: float = 245.0
    min_motion: float = 0.5
    """Grey levels in an eighth of a second: below it stands still."""
    max_motion: float = 60.0
    """Above it flickers, or is cut faster than scenes are told apart."""
    max_text: float = 0.25
    """Share of a band of the picture that writing may cover."""
    likeness: int = 4
    """Bits of 64 that the perceptual hashes of two scenes differ in, for the later to be a copy; -1: none is."""
    captioned: bool = True
    """Whether a scene needs a caption."""

    def __post_init__(self) -> None:
        if not 0 < self.min_seconds <= self.max_seconds:
            raise ConfigError(
                f"min_seconds {self.min_seconds} and max_seconds {self.max_seconds} leave nothing; give 0 < min <= max"
            )
        if not -1 <= self.likeness <= BITS:
            raise ConfigError(f"likeness: {self.likeness} is not possible; -1 (off) to {BITS} bits")


def parts(scene: Scene, config: FilterConfig) -> list[tuple[float, float]]:
    """The scene's stretch in seconds, or several of one length where it is too long."""
    length = scene.end - scene.start
    count = max(1, -int(-length // config.max_seconds))
    return [(scene.start + i * length / count, scene.start + (i + 1) * length / count) for i in range(count)]


def judge(scene: Scene, config: FilterConfig, *, is_image: bool = False) -> tuple[str, str] | None:
    """Why a scene is dropped, as a word and the figure with its limit; None if it is kept."""
    side = min(scene.width, scene.height)
    length = scene.end - scene.start
    checks = [
        ("small", side < config.min_side, f"{side} pixels, under {config.min_side}"),
        ("black", scene.luma < config.min_luma, f"brightness {scene.luma:.1f}, under {config.min_luma:g}"),
        ("white", scene.luma > config.max_luma, f"brightness {scene.luma:.1f}, over {config.max_luma:g}"),
    ]
    if not is_image:
        checks += [
            ("short", length < config.min_seconds, f"{length:.2f} s, under {config.min_seconds:g}"),
            ("still", scene.motion < config.min_motion, f"motion {scene.motion:.2f}, under {config.min_motion:g}"),
            ("restless", scene.motion > config.max_motion, f"motion {scene.motion:.1f}, over {config.max_motion:g}"),
            ("writing", scene.text > config.max_text, f"{scene.text:.0%} of a band, over {config.max_text:.0%}"),
        ]
    return next(((word, figure) for word, failed, figure in checks if failed), None)


class Likenesses:
    """Scenes by their perceptual hashes, to find those that are almost equal.

    Hashes that differ in at most six bits have two of their eight bytes in common, so each is filed under its pairs of
    bytes: nothing within six bits is missed, and few others are looked at.
    """

    def __init__(self) -> None:
        self._filed: dict[tuple[int, int, int, int], list[tuple[int, str]]] = defaultdict(list)

    def find(self, hash: str, distance: int) -> str | None:
        """Who was added before with a hash of at most ``distance`` bits from this one."""
        value = int(hash, 16)
        for key in self._keys(value):
            for other, name in self._filed.get(key, ()):
                if (value ^ other).bit_count() <= distance:
                    return name
        return None

    def add(self, hash: str, name: str) -> None:
        """Keep a scene."""
        value = int(hash, 16)
        for key in self._keys(value):
            self._filed[key].append((value, name))

    @staticmethod
    def _keys(value: int) -> Iterator[tuple[int, int, int, int]]:
        data = value.to_bytes(8, "big")
        return ((i, j, data[i], data[j]) for i, j in combinations(range(8), 2))
