"""Blocks of the causal video autoencoder: each takes frames and its memory of the frames before.

Every block is called as ``y, memory = block(x, memory)`` with x [b, t, h, w, c]. ``memory=None`` says that x begins
with the first frame of the video; that frame stands alone in time, and any number of frames may follow it. A
memory from an earlier call says that x continues that call. So a whole video in one call, and the same video in
pieces, go through the same lines and give the same result.

Follows Wan 2.1 and 2.2 (AutoencoderKLWan).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.errors import ConfigError
from sorajax.mesh import param
from sorajax.models import columns
from sorajax.models.conv import conv2d, conv3d, upsampled_conv2d

Memory = Any
"""What a block remembers: nested tuples of arrays, of the same shapes after every call."""


class Conv(nnx.Module):
    """Convolution that sees ``kernel[0] - 1`` frames back and none ahead; zero padding in space keeps h and w.

    Kernel [kt, kh, kw, i, o]. Remembers its last ``kernel[0] - 1`` input frames; before the first frame is zero.
    """

    def __init__(
        self,
        din: int,
        dout: int,
        kernel: tuple[int, int, int] = (3, 3, 3),
        *,
        scale: float = 1.0,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.kernel, self.bias = _conv_params((*kernel, din, dout), scale, rngs)
        self.dtype = dtype

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        x, back = x.astype(self.dtype), self.kernel.shape[0] - 1
        if back:
            past = jnp.zeros_like(x, shape=(x.shape[0], back, *x.shape[2:])) if memory is None else memory
            x = jnp.concatenate([past, x], 1)
            memory = x[:, -back:]
        return self.inside(x), memory

    def inside(self, x: jax.Array, time_stride: int = 1) -> jax.Array:
        """The convolution without anything before x: ``kernel[0] - 1`` frames fewer come out."""
        y = conv3d(x.astype(self.dtype), self.kernel[...].astype(self.dtype), time_stride)
        return y + self.bias[...].astype(self.dtype)


class FrameConv(nnx.Module):
    """3x3 convolution of each frame by itself. Kernel [3, 3, i, o]."""

    def __init__(self, din: int, dout: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.kernel, self.bias = _conv_params((3, 3, din, dout), 1.0, rngs)
        self.dtype = dtype

    def halve(self, x: jax.Array) -> jax.Array:
        """[..., h, w, i] -> [..., h/2, w/2, o]; the padding is after the last row and column only."""
        return self._frames(x, lambda f, k: conv2d(f, k, stride=2, padding=((0, 1), (0, 1))))

    def double(self, x: jax.Array) -> jax.Array:
        """[..., h, w, i] -> [..., 2h, 2w, o]: each pixel repeated to 2x2, then convolved."""
        return self._frames(x, upsampled_conv2d)

    def _frames(self, x: jax.Array, function: Any) -> jax.Array:
        b, t = x.shape[:2]
        y = function(x.reshape(b * t, *x.shape[2:]).astype(self.dtype), self.kernel[...].astype(self.dtype))
        return y.reshape(b, t, *y.shape[1:]) + self.bias[...].astype(self.dtype)


def _conv_params(shape: tuple[int, ...], scale: float, rngs: nnx.Rngs) -> tuple[nnx.Param, nnx.Param]:
    axes = (None,) * (len(shape) - 1) + ("conv_out",)
    init = jax.nn.initializers.variance_scaling(scale, "fan_in", "uniform")
    kernel = init(rngs.params(), shape, jnp.float32) if scale else jnp.zeros(shape)
    return param(kernel, *axes), param(jnp.zeros(shape[-1]), "conv_out")


class Norm(nnx.Module):
    """x / max(|x|, 1e-12) * sqrt(c) * gamma over the channels, in f32."""

    def __init__(self, dim: int, *, dtype: jnp.dtype):
        self.gamma = param(jnp.ones(dim), None)
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        # The bound is on the square, so that a zero vector has a finite gradient.
        inverse = jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), 1e-24))
        return (x * inverse * (math.sqrt(x.shape[-1]) * self.gamma[...])).astype(self.dtype)


class ResBlock(nnx.Module):
    """Two normalised, causal 3x3x3 convolutions beside a shortcut."""

    def __init__(self, din: int, dout: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm1 = Norm(din, dtype=dtype)
        self.conv1 = Conv(din, dout, dtype=dtype, rngs=rngs)
        self.norm2 = Norm(dout, dtype=dtype)
        self.conv2 = Conv(dout, dout, scale=0.0, dtype=dtype, rngs=rngs)  # a new block is its shortcut alone
        self.conv_shortcut = Conv(din, dout, (1, 1, 1), dtype=dtype, rngs=rngs) if din != dout else None

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        first, second = memory or (None, None)
        y, first = self.conv1(jax.nn.silu(self.norm1(x)), first)
        y, second = self.conv2(jax.nn.silu(self.norm2(y)), second)
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut.inside(x)
        return y + shortcut, (first, second)


class Attention(nnx.Module):
    """Self-attention with one head among the pixels of each frame, added to its input."""

    def __init__(self, dim: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm = Norm(dim, dtype=dtype)
        self.to_qkv = Conv(dim, 3 * dim, (1, 1, 1), dtype=dtype, rngs=rngs)
        self.proj = Conv(dim, dim, (1, 1, 1), scale=0.0, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        b, t, h, w, c = x.shape
        q, k, v = jnp.split(self.to_qkv.inside(self.norm(x)), 3, -1)
        q, k, v = (y.reshape(b * t, -1, c) for y in (q, columns.whole_rows(k), columns.whole_rows(v)))
        scores = jnp.einsum("nqc,nkc->nqk", q, k, preferred_element_type=jnp.float32) / math.sqrt(c)
        weights = jax.nn.softmax(scores, -1).astype(v.dtype)
        y = jnp.einsum("nqk,nkc->nqc", weights, v)
        return x + self.proj.inside(y.reshape(b, t, h, w, c))


class MidBlock(nnx.Module):
    """Residual block, attention, residual block, at the lowest resolution."""

    def __init__(self, dim: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.resnets = nnx.List([ResBlock(dim, dim, dtype=dtype, rngs=rngs) for _ in range(2)])
        self.attentions = nnx.List([Attention(dim, dtype=dtype, rngs=rngs)])

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        first, second = memory or (None, None)
        x, first = self.resnets[0](x, first)
        x, second = self.resnets[1](self.attentions[0](x), second)
        return x, (first, second)


class Downsample(nnx.Module):
    """Half the height and width and, if ``temporal``, 1 + 2k frames to 1 + k: the first frame stays alone."""

    def __init__(self, dim: int, *, temporal: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.resample = FrameConv(dim, dim, dtype=dtype, rngs=rngs)
        self.time_conv = Conv(dim, dim, (3, 1, 1), dtype=dtype, rngs=rngs) if temporal else None

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        x = self.resample.halve(x)
        if self.time_conv is None:
            return x, ()
        # A kernel of three frames with stride two needs one frame back, not two.
        seen = x if memory is None else jnp.concatenate([memory, x], 1)
        parts = [] if memory is not None else [x[:, :1]]
        if seen.shape[1] > 1:
            parts.append(self.time_conv.inside(seen, time_stride=2))
        return _joined(parts), seen[:, -1:]


class Upsample(nnx.Module):
    """Twice the height and width and, if ``temporal``, 1 + k frames to 1 + 2k: the first frame stays alone.

    The convolution in time begins after the first frame and does not see it, as in Wan.
    """

    def __init__(self, din: int, dout: int, *, temporal: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.resample = FrameConv(din, dout, dtype=dtype, rngs=rngs)
        self.time_conv = Conv(din, 2 * din, (3, 1, 1), dtype=dtype, rngs=rngs) if temporal else None

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        if self.time_conv is None:
            return self.resample.double(x), ()
        parts, rest = ([], x) if memory is not None else ([x[:, :1]], x[:, 1:])
        if rest.shape[1]:
            y, memory = self.time_conv(rest, memory)
            b, t, h, w, c = y.shape
            y = y.reshape(b, t, h, w, 2, c // 2).transpose(0, 1, 4, 2, 3, 5)
            parts.append(y.reshape(b, 2 * t, h, w, c // 2))
        elif memory is None:
            memory = jnp.zeros_like(x, shape=(x.shape[0], 2, *x.shape[2:]))
        return self.resample.double(_joined(parts)), memory


class DownBlock(nnx.Module):
    """Wan 2.2: residual blocks and a downsampling, beside an average of pixels that goes around them."""

    def __init__(
        self, din: int, dout: int, *, depth: int, down: bool, temporal: bool, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        self.factors, self.dout = (2 if temporal else 1, 2 if down else 1), dout
        if din * math.prod(self.factors) * self.factors[1] % dout:
            raise ConfigError(
                f"vae: a residual block cannot go from {din} to {dout} channels without downsampling as much; "
                "repeat the last of dim_mult, or choose multiples that divide"
            )
        self.resnets = nnx.List([ResBlock(dout if n else din, dout, dtype=dtype, rngs=rngs) for n in range(depth)])
        self.downsampler = Downsample(dout, temporal=temporal, dtype=dtype, rngs=rngs) if down else None

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        shortcut = average_down(x, self.dout, *self.factors)
        layers = [*self.resnets, *([self.downsampler] if self.downsampler else [])]
        x, memory = chain(layers, x, memory)
        return x + shortcut, memory


class UpBlock(nnx.Module):
    """Residual blocks, then an upsampling; in Wan 2.2 (``residual``) beside repeated pixels that go around them."""

    def __init__(
        self,
        din: int,
        dout: int,
        *,
        depth: int,
        up: bool,
        temporal: bool,
        residual: bool,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.factors, self.dout = (2 if temporal else 1, 2), dout
        self.residual = residual and up
        if self.residual and dout * self.factors[0] * 4 % din:
            raise ConfigError(f"vae: a residual block cannot go from {din} to {dout} channels; change dim_mult")
        self.resnets = nnx.List([ResBlock(dout if n else din, dout, dtype=dtype, rngs=rngs) for n in range(depth)])
        wide = dout if residual else dout // 2
        self.upsampler = Upsample(dout, wide, temporal=temporal, dtype=dtype, rngs=rngs) if up else None

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        shortcut = repeat_up(x, self.dout, *self.factors, first=memory is None) if self.residual else None
        layers = [*self.resnets, *([self.upsampler] if self.upsampler else [])]
        x, memory = chain(layers, x, memory)
        return x if shortcut is None else x + shortcut, memory


def chain(layers: Any, x: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
    """Run ``layers`` one after another, each with its own memory."""
    kept = []
    for layer, past in zip(layers, memory or (None,) * len(layers), strict=True):
        x, past = layer(x, past)
        kept.append(past)
    return x, tuple(kept)


def average_down(x: jax.Array, dout: int, factor_t: int, factor_s: int) -> jax.Array:
    """[b, t, h, w, c] -> [b, t/ft, h/fs, w/fs, dout]: pixels moved to channels, then means of channel groups.

    An odd number of frames begins with the video's first: a zero frame is put before it.
    """
    if x.shape[1] % factor_t:
        x = jnp.pad(x, ((0, 0), (factor_t - x.shape[1] % factor_t, 0), (0, 0), (0, 0), (0, 0)))
    b, t, h, w, c = x.shape
    x = x.reshape(b, t // factor_t, factor_t, h // factor_s, factor_s, w // factor_s, factor_s, c)
    x = x.transpose(0, 1, 3, 5, 7, 2, 4, 6)
    return jnp.mean(x.reshape(*x.shape[:4], dout, -1), -1)


def repeat_up(x: jax.Array, dout: int, factor_t: int, factor_s: int, *, first: bool) -> jax.Array:
    """[b, t, h, w, c] -> [b, t*ft, h*fs, w*fs, dout]: channels repeated, then moved to pixels.

    The first frame of a video gives one frame, the last of its ``factor_t``.
    """
    repeats = dout * factor_t * factor_s * factor_s // x.shape[-1]

    def pixels(*place: int) -> jax.Array:
        """[b, t, h, w, dout] of one frame, row and column in each cell."""
        cell = (factor_t, factor_s, factor_s)
        return _channels(x, (np.arange(dout) * math.prod(cell) + np.ravel_multi_index(place, cell)) // repeats)

    # Axis by axis, channels last: a TPU would pad a last axis of two to 128.
    rows = [[_woven([pixels(a, r, s) for s in range(factor_s)], 3) for r in range(factor_s)] for a in range(factor_t)]
    y = _woven([_woven(frame, 2) for frame in rows], 1)
    return y[:, factor_t - 1 :] if first else y


def _channels(x: jax.Array, index: np.ndarray) -> jax.Array:
    """x[..., index], as a slice where the index has even steps."""
    first, steps = int(index[0]), np.unique(np.diff(index))
    if len(steps) == 1 and steps[0] > 0:
        return x[..., first : int(index[-1]) + 1 : int(steps[0])]
    return x[..., index]


def _woven(parts: list[jax.Array], axis: int) -> jax.Array:
    """Arrays of one shape as one, taking from each in turn along ``axis``."""
    whole, shape = jnp.stack(parts, axis + 1), parts[0].shape
    return whole.reshape(*shape[:axis], shape[axis] * len(parts), *shape[axis + 1 :])


def _joined(parts: list[jax.Array]) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, 1)
