"""Layers that every model shares: products with f32 accumulation, and the two norms."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from sorajax.mesh import param
from sorajax.models.adapted import Adapted
from sorajax.models.quantised import Quantised

F32 = jnp.dtype(jnp.float32)


def matmul(x: jax.Array, w: jax.Array | Quantised | Adapted, dtype: jnp.dtype) -> jax.Array:
    """x [..., i] times w [i, o] -> f32 [..., o]: operands in ``dtype``, sums in f32, backward too."""
    if isinstance(w, Adapted):
        change = matmul(matmul(x, w.down, dtype), w.up, dtype)
        return matmul(x, jax.lax.stop_gradient(w.kernel), dtype) + w.scale * change
    if isinstance(w, Quantised):
        if w.both:
            return w.product(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], w.shape[-1])
        return matmul(x, w.values.astype(dtype), dtype) * w.scale
    if dtype == jnp.float32:
        return jnp.matmul(x, w, preferred_element_type=jnp.float32)
    return _low_matmul(x.reshape(-1, x.shape[-1]), w, dtype).reshape(*x.shape[:-1], w.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _low_matmul(x: jax.Array, w: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return jnp.matmul(x.astype(dtype), w.astype(dtype), preferred_element_type=jnp.float32)


def _low_forward(x: jax.Array, w: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _low_matmul(x, w, dtype), (x, w)


def _low_backward(dtype: jnp.dtype, kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    (x, w), dy = kept, dy.astype(dtype)
    dx = jnp.matmul(dy, _transpose(w.astype(dtype)), preferred_element_type=jnp.float32)
    dw = jnp.matmul(_transpose(x.astype(dtype)), dy, preferred_element_type=jnp.float32)
    return dx.astype(x.dtype), dw.astype(w.dtype)


_low_matmul.defvjp(_low_forward, _low_backward)


def _transpose(x: jax.Array) -> jax.Array:
    """x.T, on CPU in a form that XLA does not fold into the product: folded, it leaves the fast bf16 kernels."""
    m, n = x.shape
    if jax.default_backend() != "cpu" or m % 8:
        return x.T
    return x.reshape(8, m // 8, n).transpose(2, 0, 1).reshape(n, m)


class Linear(nnx.Module):
    """y = x W + b. Kernel [in, out]; logical axes of the kernel are given by the caller."""

    def __init__(
        self,
        din: int,
        dout: int,
        *,
        axes: tuple[str | None, str | None] = ("embed", None),
        bias: bool = True,
        scale: float = 1.0,
        dtype: jnp.dtype = F32,
        rngs: nnx.Rngs,
    ):
        kernel = jnp.zeros((din, dout))
        if scale:
            init = jax.nn.initializers.variance_scaling(scale, "fan_avg", "uniform")
            kernel = init(rngs.params(), kernel.shape, jnp.float32)
        self.kernel = param(kernel, *axes)
        self.bias = param(jnp.zeros(dout), axes[1]) if bias else None
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        y = matmul(x, self.kernel[...], self.dtype)
        return y if self.bias is None else y + self.bias[...]


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x^2) + eps) * scale over the last axis, in f32."""

    def __init__(self, dim: int, *, eps: float = 1e-6, axis: str | None = None):
        self.scale = param(jnp.ones(dim), axis)
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + self.eps) * self.scale[...]


def layer_norm(x: jax.Array, eps: float) -> jax.Array:
    """LayerNorm over the last axis without affine parameters, in f32."""
    x = x.astype(jnp.float32)
    mean, square = jnp.mean(x, -1, keepdims=True), jnp.mean(x * x, -1, keepdims=True)  # in one pass over x
    return (x - mean) * jax.lax.rsqrt(jnp.maximum(square - mean * mean, 0) + eps)


class LayerNorm(nnx.Module):
    """LayerNorm with affine parameters, in f32."""

    def __init__(self, dim: int, *, eps: float = 1e-6):
        self.scale = param(jnp.ones(dim), None)
        self.bias = param(jnp.zeros(dim), None)
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        return layer_norm(x, self.eps) * self.scale[...] + self.bias[...]
