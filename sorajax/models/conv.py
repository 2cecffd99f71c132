"""Convolutions over [n, h, w, c] and [b, t, h, w, c], in the form that is fast where they run.

On CPU the compiler's 3-D convolution is slow: the frames a kernel spans are put side by side as channels, and one
2-D convolution does the rest. Elsewhere the native one is used.
"""

import jax
import jax.numpy as jnp

SPACE = ("NHWC", "HWIO", "NHWC")
TIME_SPACE = ("NDHWC", "DHWIO", "NDHWC")


def conv2d(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: tuple[tuple[int, int], tuple[int, int]]
) -> jax.Array:
    """x [n, h, w, i], kernel [kh, kw, i, o] -> [n, h', w', o]."""
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=SPACE)


def conv3d(x: jax.Array, kernel: jax.Array, time_stride: int = 1) -> jax.Array:
    """x [b, t, h, w, i], odd kernel [kt, kh, kw, i, o] -> [b, (t - kt) // time_stride + 1, h, w, o].

    Zero padding in space, none in time.
    """
    if jax.default_backend() == "cpu":
        return conv3d_as_2d(x, kernel, time_stride)
    return conv3d_native(x, kernel, time_stride)


def conv3d_native(x: jax.Array, kernel: jax.Array, time_stride: int = 1) -> jax.Array:
    """``conv3d`` as the compiler's 3-D convolution."""
    kh, kw = kernel.shape[1:3]
    padding = ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2))
    return jax.lax.conv_general_dilated(x, kernel, (time_stride, 1, 1), padding, dimension_numbers=TIME_SPACE)


def conv3d_as_2d(x: jax.Array, kernel: jax.Array, time_stride: int = 1) -> jax.Array:
    """``conv3d`` as one 2-D convolution of the frames in reach, concatenated by channel."""
    kt, kh, kw, i, o = kernel.shape
    b, t, h, w, _ = x.shape
    count = (t - kt) // time_stride + 1
    reach = [x[:, k : k + (count - 1) * time_stride + 1 : time_stride] for k in range(kt)]
    x = jnp.concatenate(reach, -1) if kt > 1 else reach[0]
    if (kh, kw) == (1, 1):
        return x @ kernel.reshape(kt * i, o)
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, kt * i, o)
    y = conv2d(x.reshape(b * count, h, w, kt * i), kernel, padding=((kh // 2, kh // 2), (kw // 2, kw // 2)))
    return y.reshape(b, count, h, w, o)


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
    y = conv2d(x, small.reshape(2, 2, i, 4 * o).astype(x.dtype), padding=((1, 1), (1, 1)))
    y = y.reshape(n, h + 1, w + 1, 2, 2, o)
    rows = jnp.stack([y[:, :-1, :, 0], y[:, 1:, :, 1]], 2)  # [n, h, 2, w + 1, 2, o]
    return jnp.stack([rows[:, :, :, :-1, 0], rows[:, :, :, 1:, 1]], 4).reshape(n, 2 * h, 2 * w, o)
