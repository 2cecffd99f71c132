"""Layers that every model shares: products with f32 accumulation, and the two norms."""

import jax
import jax.numpy as jnp
from flax import nnx

from sorajax.mesh import param


def matmul(x: jax.Array, w: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """x [..., i] times w [i, o] -> f32 [..., o]: operands in ``dtype``, sums in f32."""
    return jnp.matmul(x.astype(dtype), w.astype(dtype), preferred_element_type=jnp.float32)


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
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        init = jax.nn.initializers.variance_scaling(scale, "fan_avg", "uniform") if scale else jnp.zeros
        args = (rngs.params(), (din, dout), jnp.float32) if scale else ((din, dout), jnp.float32)
        self.kernel = param(init(*args), *axes)
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
    x = x - jnp.mean(x, -1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)


class LayerNorm(nnx.Module):
    """LayerNorm with affine parameters, in f32."""

    def __init__(self, dim: int, *, eps: float = 1e-6):
        self.scale = param(jnp.ones(dim), None)
        self.bias = param(jnp.zeros(dim), None)
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        return layer_norm(x, self.eps) * self.scale[...] + self.bias[...]
