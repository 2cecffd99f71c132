"""Visual styles: what is done to finished frames, the same for the same frame number, so that it can be learnt."""

import functools

import numpy as np

STYLES = ("plain", "film noir", "cartoon", "vintage")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
INK = np.array([24, 18, 32], np.float32)


@functools.lru_cache(maxsize=8)
def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - strength * np.clip((x * x + y * y) / 2, 0, 1))[..., None].astype(np.float32)


@functools.lru_cache(maxsize=8)
def _grain(frames: int, height: int, width: int) -> np.ndarray:
    """Film grain, one pattern a frame, always the same patterns: f32 [t, h, w, 1], in levels of 255."""
    rng = np.random.Generator(np.random.Philox(key=[1895, 0]))
    return rng.normal(0, 6, (frames, height, width, 1)).astype(np.float32)


def apply(style: str, frames: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Restyle uint8 [t, h, w, 3]; alpha uint8 [t, h, w] says where the objects are (the cartoon inks them)."""
    if style == "plain":
        return frames
    t, height, width, _ = frames.shape
    x = frames.astype(np.float32)
    if style == "film noir":
        gray = (x @ LUMA)[..., None] / 255
        gray = gray * gray * (3 - 2 * gray) * 255
        x = np.broadcast_to(gray * _vignette(height, width, 0.6), frames.shape)
    elif style == "cartoon":
        gray = (x @ LUMA)[..., None]
        x = np.round((gray + 1.4 * (x - gray)) / 51) * 51
        x += (INK - x) * _outline(alpha)[..., None]
    elif style == "vintage":
        gray = (x @ LUMA)[..., None]
        sepia = gray * np.array([1.05, 0.88, 0.66], np.float32) + np.array([18, 14, 10], np.float32)
        flicker = 1 + 0.05 * np.sin(np.arange(t) * 2.4)[:, None, None, None]
        x = (0.25 * x + 0.75 * sepia) * _vignette(height, width, 0.5) * flicker + _grain(t, height, width)
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def _outline(alpha: np.ndarray) -> np.ndarray:
    """How much ink each pixel takes, f32 [t, h, w] in 0 to 1: just outside the edge of what alpha covers."""
    solid = alpha.astype(np.float32) / 255
    padded = np.pad(solid, ((0, 0), (1, 1), (1, 1)))
    height, width = solid.shape[1:]
    around = [padded[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return np.maximum.reduce(around) - solid * (solid > 0.9)
