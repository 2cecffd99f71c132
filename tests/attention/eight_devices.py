"""Run with eight forced CPU devices: prints, as JSON, how far attention over split tokens is from the formula."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from sorajax.attention import attention
from sorajax.mesh import make_mesh
from tests.attention import reference

CASES = {
    "ulysses": ((8, 1), 8, 64, 64),
    "ring": ((8, 1), 3, 64, 64),
    "both": ((8, 1), 12, 64, 64),
    "both, heads over tensor too": ((4, 2), 12, 64, 64),
    "padding at the end": ((8, 1), 12, 64, 59),
    "devices that hold padding alone": ((8, 1), 4, 64, 29),
    "tokens that do not divide": ((8, 1), 12, 63, 63),
    "tokens that do not divide, and padding": ((8, 1), 12, 63, 60),
}
"""(seq, tensor), heads, tokens, how many of them count."""


def main() -> dict[str, dict[str, float]]:
    """Relative differences by case, of the output and of the gradients of queries, keys and values."""
    return {name: differences(*case) for name, case in CASES.items()} | {"text": text()}


def differences(axes: tuple[int, int], heads: int, tokens: int, length: int) -> dict[str, float]:
    q, k, v, do = reference.inputs(2, tokens, tokens, heads, 16)
    do[:, length:] = 0
    wanted = [reference.attention(q, k, v, length), *reference.gradients(q, k, v, do, length)]
    return compare(axes, (q, k, v, do), wanted, length=length, same=True)


def text() -> dict[str, float]:
    """Video tokens, which are split, look at text tokens, which are not."""
    q, k, v, do = reference.inputs(2, 64, 21, 12, 16)
    return compare((8, 1), (q, k, v, do), [reference.attention(q, k, v), *reference.gradients(q, k, v, do)], same=False)


def compare(axes, arrays, wanted, **options) -> dict[str, float]:
    with jax.set_mesh(make_mesh(seq=axes[0], tensor=axes[1])):

        @jax.jit
        def run(q, k, v, do):
            heads = q.shape[2]
            flat = [x.reshape(*x.shape[:2], -1) for x in (q, k, v, do)]
            out, pull = jax.vjp(lambda q, k, v: attention(q, k, v, heads, jnp.float32, **options), *flat[:3])
            return [x.reshape(*x.shape[:2], heads, -1) for x in (out, *pull(flat[3]))]

        got = [np.asarray(x) for x in run(*arrays)]
    length = options.get("length") or wanted[0].shape[1]
    got[0], wanted[0] = got[0][:, :length], wanted[0][:, :length]
    return {name: reference.relative(*pair) for name, *pair in zip(("out", "q", "k", "v"), got, wanted, strict=True)}


if __name__ == "__main__":
    assert len(jax.devices()) == 8
    print(json.dumps(main()))
