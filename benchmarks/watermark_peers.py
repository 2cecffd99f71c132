"""Other watermarks, behind one protocol, so that they can live in an environment of their own.

    python benchmarks/watermark_peers.py     # answers requests, JSON lines on stdin, with JSON lines on stdout

It needs ``invisible-watermark`` (RivaGAN, dwtDct, dwtDctSvd: 32 bits a frame) and ``blind-watermark`` (64 bits here).
All are made for pictures. To give them the best that a video allows, every frame is marked, and the values before the
decision are averaged over the frames that are read, where the packages decide frame by frame; the limits on sizes that
their front ends set are passed by. RivaGAN's network is run with onnxruntime; PyTorch, which the package wants only to
turn arrays round, is not needed.
"""

import importlib.metadata
import importlib.util
import json
import os
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

_DWT_SCALE = 36  # of both DWT methods, on the U channel: their default
_RIVAGAN_THRESHOLD = 0.52  # the package's default


class Peer(Protocol):
    """Marks a frame, and reads soft bits from one; frames are BGR, uint8 [h, w, 3]."""

    def embed(self, frame: np.ndarray, bits: list[int]) -> np.ndarray: ...
    def read(self, frame: np.ndarray, length: int) -> np.ndarray: ...
    def decide(self, soft: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Dwt:
    """dwtDct and dwtDctSvd."""

    method: str

    def _coder(self, bits: list[int], length: int) -> Any:
        from imwatermark.dwtDctSvd import EmbedDwtDctSvd
        from imwatermark.maxDct import EmbedMaxDct

        return (EmbedMaxDct if self.method == "dwtDct" else EmbedDwtDctSvd)(bits, wmLen=length)

    def embed(self, frame: np.ndarray, bits: list[int]) -> np.ndarray:
        return self._coder(bits, len(bits)).encode(frame)

    def read(self, frame: np.ndarray, length: int) -> np.ndarray:
        import cv2
        import pywt

        height, width = (side // 4 * 4 for side in frame.shape[:2])
        u = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV)[:height, :width, 1]
        low, _ = pywt.dwt2(u, "haar")
        scores = self._coder([], length).decode_frame(low, _DWT_SCALE, [[] for _ in range(length)])
        return np.array([np.mean(s) if s else 0.5 for s in scores])

    def decide(self, soft: np.ndarray) -> np.ndarray:
        return soft * 255 > 127


class RivaGan:
    """The two networks that the package brings."""

    def __init__(self, threads: int) -> None:
        import imwatermark
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        folder = Path(imwatermark.__file__).parent
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(folder / f"rivagan_{part}.onnx", options) for part in ("encoder", "decoder")
        )

    @staticmethod
    def _input(frame: np.ndarray) -> np.ndarray:
        return (frame.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None, :, None]

    def embed(self, frame: np.ndarray, bits: list[int]) -> np.ndarray:
        out = self._encoder.run(None, {"frame": self._input(frame), "data": np.array([bits], np.float32)})[0]
        return np.rint((np.clip(out[0, :, 0].transpose(1, 2, 0), -1, 1) + 1) * 127.5).astype(np.uint8)

    def read(self, frame: np.ndarray, length: int) -> np.ndarray:
        return np.asarray(self._decoder.run(None, {"frame": self._input(frame)})[0][0])

    def decide(self, soft: np.ndarray) -> np.ndarray:
        return soft > _RIVAGAN_THRESHOLD


class Blind:
    """blind-watermark."""

    @staticmethod
    def _coder() -> Any:
        from blind_watermark import WaterMark

        return WaterMark(password_wm=1, password_img=1)

    def embed(self, frame: np.ndarray, bits: list[int]) -> np.ndarray:
        coder = self._coder()
        coder.read_img(img=frame)
        coder.read_wm(np.array(bits, bool), mode="bit")
        return np.rint(coder.embed()).astype(np.uint8)

    def read(self, frame: np.ndarray, length: int) -> np.ndarray:
        return self._coder().bwm_core.extract(frame, (length,))

    def decide(self, soft: np.ndarray) -> np.ndarray:
        from blind_watermark.bwm_core import one_dim_kmeans

        coder = self._coder()
        coder.wm_size = len(soft)
        return coder.extract_decrypt(one_dim_kmeans(soft) if np.ptp(soft) else soft > 0.5)


def _peer(method: str, threads: int) -> Peer:
    if method == "RivaGAN":
        return RivaGan(threads)
    return Blind() if method == "blind-watermark" else Dwt(method)


def _answer(request: dict, peers: dict[str, Peer]) -> dict:
    if request["do"] == "versions":
        packages = ("invisible-watermark", "blind-watermark", "onnxruntime")
        return {name: importlib.metadata.version(name) for name in packages}
    method = request["method"]
    if method not in peers:
        peers[method] = _peer(method, request["threads"])
    peer, frames = peers[method], np.load(request["frames"])[..., ::-1]
    started = time.perf_counter()
    if request["do"] == "embed":
        marked = np.stack([peer.embed(np.ascontiguousarray(frame), request["bits"]) for frame in frames])
        seconds = time.perf_counter() - started
        np.save(request["out"], marked[..., ::-1])
        return {"seconds": seconds}
    soft = np.mean([peer.read(np.ascontiguousarray(frame), request["length"]) for frame in frames], axis=0)
    return {"seconds": time.perf_counter() - started, "bits": [int(bit) for bit in peer.decide(soft)]}


def main() -> None:
    """Answer until stdin ends. A request that fails is answered with its reason."""
    if importlib.util.find_spec("torch") is None:
        sys.modules["torch"] = types.ModuleType("torch")  # imported by invisible-watermark, not used here
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print must not come between the answers
    peers: dict[str, Peer] = {}
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line), peers)
        except Exception as error:  # whatever goes wrong inside a package is its result
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
