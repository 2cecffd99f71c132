"""Looking into an uploaded file: its watermark, and what it looks like. A stranger's video is decoded in a process of
its own, which has little memory and little time.

    python -m provenance.resolver.searching FILE    prints {"payload": ..., "fingerprint": ...} or {"error": ...}
"""

import base64
import contextlib
import json
import math
import os
import sys
from itertools import islice

MEMORY = 3 * 2**30
"""Bytes of address space."""
_FRAMES = 32


def main(path: str) -> int:
    """Print what was found as a line of JSON."""
    _limit_memory()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from provenance import formats, scenes, stills, video
    from provenance.errors import MediaError
    from provenance.watermark import Detector

    try:
        looked = scenes.look(path, stills=False)
        detector = Detector()
        if formats.of(path).container is None:
            frames = stills.read_frames(path)
        else:
            frames = video.read_frames(path, step=max(1, math.ceil(video.count_frames(path) / _FRAMES)))
        for frame in islice(frames, _FRAMES):
            detector.add(frame)
        mark = detector.result()
    except (MediaError, MemoryError) as error:
        print(json.dumps({"error": str(error) or "it needs too much memory"}))
        return 1
    payload = mark.payload.hex() if mark.payload is not None else None
    fingerprint = base64.b64encode(looked.fingerprint.to_bytes()).decode()
    print(json.dumps({"payload": payload, "fingerprint": fingerprint}))
    return 0


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
