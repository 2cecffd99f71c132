"""Convolutions over [n, h, w, c] and [b, t, h, w, c], in the form that is fast where they run.

On CPU the compiler's 3-D convolution and its weight gradients are slow. There the frames that a kernel spans are
put side by side as channels, one 2-D convolution does the rest, and the weight gradient is written as products of
small blocks that stay in the cache. In bfloat16 the convolution is written as such products too: the compiler would do
it in float32, at half the speed. Elsewhere the native operation is used. Where columns are split over devices, the
zeros beside a part are its neighbours' columns instead (``columns.beside``).
"""

import functools

import jax
import jax.numpy as jnp

from sorajax.models import columns

SPACE = ("NHWC", "HWIO", "NHWC")
TIME_SPACE = ("NDHWC", "DHWIO", "NDHWC")
BLOCK = 256
"""Pixels in one product of the weight gradient: im2col of so many fits the second-level cache."""
STRIP = 1024
"""Pixels in one product of a bfloat16 convolution."""

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zeros (above, below), (left, right)."""


def conv2d(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: Padding) -> jax.Array:
    """x [n, h, w, i], kernel [kh, kw, i, o] -> [n, h', w', o]."""
    x, padding = _beside(x, padding)
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=SPACE)


def conv3d(x: jax.Array, kernel: jax.Array, time_stride: int = 1) -> jax.Array:
    """x [b, t, h, w, i], kernel [kt, kh, kw, i, o] with odd kh, kw -> [b, (t - kt) // time_stride + 1, h, w, o].

    Zero padding in space, none in time.
    """
    if jax.default_backend() == "cpu":
        return conv3d_as_2d(x, kernel, time_stride)
    return conv3d_native(x, kernel, time_stride)


def conv3d_native(x: jax.Array, kernel: jax.Array, time_stride: int = 1) -> jax.Array:
    """``conv3d`` as the compiler's 3-D convolution."""
    x, padding = _beside(x, _same(kernel))
    strides, padding = (time_stride, 1, 1), ((0, 0), *padding)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=TIME_SPACE)


def conv3d_as_2d(x: jax.Array, kernel: jax.Array, time_stride: int = 1) -> jax.Array:
    """``conv3d`` as one 2-D convolution of the frames in reach, concatenated by channel."""
    kt, kh, kw, i, o = kernel.shape
    if (kh, kw) == (1, 1):
        return _frames_in_reach(x, kt, time_stride) @ kernel.reshape(kt * i, o)
    if time_stride != 1:
        raise NotImplementedError("a stride in time is for kernels of one pixel")
    x, padding = _beside(x, _same(kernel))
    return _causal_conv(x, kernel, padding)


def upsampled_conv2d(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [n, h, w, i], kernel [3, 3, i, o] -> [n, 2h, 2w, o]: repeat each pixel to 2x2, then convolve.

    Done without the repetition: a row of the output sees two rows of x, so four 2x2 kernels, one for each
    parity of row and column, take 4/9 of the products.
    """
    n, h, w, i = x.shape
    o = kernel.shape[-1]
    # Even rows see (above, itself twice), odd rows (itself twice, below): sums of kernel rows.
    sums = jnp.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], jnp.float32)
    small = jnp.einsum("pyk,qxl,klio->yxipqo", sums, sums, kernel.astype(jnp.float32))
    small, padding = small.reshape(2, 2, i, 4 * o).astype(x.dtype), ((1, 1), (1, 1))
    if jax.default_backend() == "cpu":
        x, padding = _beside(x, padding)
        y = _causal_conv(x[:, None], small[None], padding)
    else:
        y = conv2d(x, small, padding=padding)
    y = y.reshape(n, h + 1, w + 1, 2, 2, o)
    rows = jnp.stack([y[:, :-1, :, 0], y[:, 1:, :, 1]], 2)  # [n, h, 2, w + 1, 2, o]
    return jnp.stack([rows[:, :, :, :-1, 0], rows[:, :, :, 1:, 1]], 4).reshape(n, 2 * h, 2 * w, o)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _causal_conv(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """x [b, t, h, w, i], kernel [kt, kh, kw, i, o] -> [b, t - kt + 1, h', w', o], with gradients for a CPU."""
    kt, kh, kw, i, o = kernel.shape
    if x.dtype == jnp.bfloat16 and max(i, o) > 16:
        return _in_strips(x, kernel, padding)
    reach = _frames_in_reach(x, kt)
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, kt * i, o)
    y = jax.lax.conv_general_dilated(_merged(reach), flat, (1, 1), padding, dimension_numbers=SPACE)
    return y.reshape(*reach.shape[:2], *y.shape[1:])


def _in_strips(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """``_causal_conv`` as products of strips of rows, with sums in f32.

    In a strip, what a kernel's row sees is put side by side as channels, kt * kw * i of them; each of its rows is then
    one product, of the strip moved down by as much.
    """
    kt, kh, kw, i, o = kernel.shape
    (above, below), sides = padding
    b, t, h, w = x.shape[0], x.shape[1] - kt + 1, x.shape[2] + above + below - kh + 1, x.shape[3] + sum(sides) - kw + 1
    rows = -(-h // min(h, -(-b * h * w // STRIP)))
    strips = -(-h // rows)
    x = jnp.pad(x, ((0, 0), (0, 0), (above, below + strips * rows - h), sides, (0, 0)))
    flat = kernel.transpose(1, 0, 2, 3, 4).reshape(kh, kt * kw * i, o)

    def strip(n: jax.Array) -> jax.Array:
        corner, size = (0, n // strips, n % strips * rows, 0, 0), (b, kt, rows + kh - 1, *x.shape[3:])
        seen = jax.lax.dynamic_slice(x, corner, size)
        beside = jnp.concatenate([seen[:, k, :, c : c + w] for k in range(kt) for c in range(kw)], -1)
        parts = (beside[:, r : r + rows].reshape(b * rows * w, -1) for r in range(kh))
        sums = sum(jnp.matmul(*pair, preferred_element_type=jnp.float32) for pair in zip(parts, flat, strict=True))
        return jnp.reshape(sums, (b, rows, w, o)).astype(x.dtype)

    y = jax.lax.map(strip, jnp.arange(t * strips)).reshape(t, strips, b, rows, w, o)
    return y.transpose(2, 0, 1, 3, 4, 5).reshape(b, t, strips * rows, w, o)[:, :, :h]


def _forward(x: jax.Array, kernel: jax.Array, padding: Padding) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _causal_conv(x, kernel, padding), (x, kernel)


def _backward(padding: Padding, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    kt, kh, kw, i, o = kernel.shape
    # The gradient of x is a convolution too, with the kernel reversed on every axis.
    later = jnp.pad(dy, ((0, 0), (kt - 1, kt - 1), (0, 0), (0, 0), (0, 0)))
    around = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip((kh, kw), padding, strict=True))
    dx = _causal_conv(later, kernel[::-1, ::-1, ::-1].swapaxes(3, 4), around)
    padded = jnp.pad(_merged(_frames_in_reach(x, kt)), ((0, 0), *padding, (0, 0)))
    dkernel = _weight_gradient(padded, _merged(dy)).reshape(o, kh, kw, kt, i).transpose(3, 1, 2, 4, 0)
    return dx, dkernel.astype(kernel.dtype)


_causal_conv.defvjp(_forward, _backward)


def _weight_gradient(x: jax.Array, dy: jax.Array) -> jax.Array:
    """x [n, h, w, i], dy [n, h - kh + 1, w - kw + 1, o] -> f32 [o, kh * kw * i], summed over blocks of frames."""
    (n, height, width, i), (_, h, w, o) = x.shape, dy.shape
    offsets = [(r, c) for r in range(height - h + 1) for c in range(width - w + 1)]
    frames = max(d for d in range(1, n + 1) if n % d == 0 and d * h * w <= max(BLOCK, h * w))

    def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, dy = block
        columns = jnp.concatenate([x[:, r : r + h, c : c + w] for r, c in offsets], -1)
        sides = dy.reshape(-1, o), columns.reshape(-1, len(offsets) * i)
        return total + jax.lax.dot_general(*sides, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32), None

    blocks = x.reshape(-1, frames, height, width, i), dy.reshape(-1, frames, h, w, o)
    return jax.lax.scan(add, jnp.zeros((o, len(offsets) * i), jnp.float32), blocks)[0]


def _frames_in_reach(x: jax.Array, kt: int, stride: int = 1) -> jax.Array:
    """[b, t, h, w, i] -> [b, (t - kt) // stride + 1, h, w, kt * i]."""
    last = (x.shape[1] - kt) // stride * stride
    return jnp.concatenate([x[:, k : k + last + 1 : stride] for k in range(kt)], -1) if kt > 1 else x[:, ::stride]


def _merged(x: jax.Array) -> jax.Array:
    return x.reshape(-1, *x.shape[2:])


def _beside(x: jax.Array, padding: Padding) -> tuple[jax.Array, Padding]:
    """x and what is left to pad: nothing at the sides, where columns are split."""
    rows, (left, right) = padding
    return (columns.beside(x, left, right), (rows, (0, 0))) if columns.split() else (x, padding)


def _same(kernel: jax.Array) -> Padding:
    kh, kw = kernel.shape[1:3]
    return (kh // 2, kh // 2), (kw // 2, kw // 2)
