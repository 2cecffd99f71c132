"""Where an object is, and how large, at each moment of a clip: the nine motions and the five cameras.

All lengths are units of a 64-pixel frame, y downwards; `u` runs from 0 at the first frame to 1 at the last.
"""

from dataclasses import dataclass

import numpy as np

from sorajax.data.scenes import GROUND, MARGIN

MOTIONS = ("left", "right", "up", "down", "still", "growing", "shrinking", "bouncing", "circling")
CAMERAS = ("still", "pan left", "pan right", "zoom in", "zoom out")
SIZES = {"small": 18, "medium": 28, "large": 40}
"""Longer side of an object."""

MIDDLE, HOVER = 32.0, 30.0
TRAVEL, HOP, RADIUS = 32.0, 20.0, 13.0
SMALLEST, LARGEST = 0.5, 1.4
ZOOM = 1.35
PAIR_SCALE, PAIR_TRAVEL, PAIR_APART = 0.7, 0.5, 14.0


@dataclass(frozen=True, kw_only=True)
class Track:
    """An object's square over time: centre x and y, and side, each f64 [t] in units."""

    x: np.ndarray
    y: np.ndarray
    side: np.ndarray


def moments(frames: int) -> np.ndarray:
    """u of each frame, f64 [frames]."""
    return np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)


def track(motion: str, size: str, frames: int, *, floats: bool = False, place: int = 0) -> Track:
    """The path of one object, as the camera at rest sees it.

    floats: it keeps off the ground when it moves level. place: 0 alone, -1 and 1 the left and right of a pair.
    """
    u = moments(frames)
    reach = PAIR_TRAVEL if place else 1.0
    side = np.full(frames, SIZES[size] * (PAIR_SCALE if place else 1.0))
    level = HOVER if floats else GROUND - side / 2
    x, y = np.full(frames, MIDDLE), np.broadcast_to(level, frames).copy()
    if motion in ("left", "right"):
        x += TRAVEL * reach * (u - 0.5) * (1 if motion == "right" else -1)
    elif motion in ("up", "down"):
        y = MIDDLE + TRAVEL * (u - 0.5) * (1 if motion == "down" else -1)
    elif motion in ("growing", "shrinking"):
        y[:] = MIDDLE + 2
        side *= SMALLEST + (LARGEST - SMALLEST) * (u if motion == "growing" else 1 - u)
    elif motion == "bouncing":
        y = GROUND - side / 2 - HOP * np.abs(np.sin(2 * np.pi * u))
    elif motion == "circling":
        x += RADIUS * reach * np.sin(2 * np.pi * u)
        y = MIDDLE - RADIUS * np.cos(2 * np.pi * u)
    return Track(x=x + place * PAIR_APART, y=y, side=side)


def pan(camera: str, frames: int) -> np.ndarray:
    """How far right of the middle the camera looks, f64 [t] in units, at most MARGIN either way."""
    u = moments(frames)
    if camera == "pan left":
        return MARGIN * (1 - 2 * u)
    if camera == "pan right":
        return MARGIN * (2 * u - 1)
    return np.zeros(frames)


def zoom(camera: str, frames: int) -> np.ndarray:
    """Magnification about the middle, f64 [t]."""
    u = moments(frames)
    if camera == "zoom in":
        return 1 + (ZOOM - 1) * u
    if camera == "zoom out":
        return ZOOM - (ZOOM - 1) * u
    return np.ones(frames)
