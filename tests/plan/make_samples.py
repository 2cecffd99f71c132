"""Write samples/: what the TPU compiler says of small programs, stripped of what the planner does not read.

Made with jax 0.12.0.1 and libtpu 0.0.50.1, for v5e:2x2. Run: ``python -m tests.plan.make_samples`` (needs libtpu).

- layers.hlo: three layers of two products [2048, 512] x [512, 512] in a scan, weights gathered over four devices.
- attention.hlo: three layers of attention under shard_map, a clip of 1,024 tokens with two heads a device.
- attention.bundles: the forward kernel's listing, 128 queries x 256 keys; of bundles, control flow and products alone.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SAMPLES = Path(__file__).with_name("samples")
LENGTH, HEADS, BLOCKS = 1024, 2, {"queries": 128, "keys": 256, "chunk": 128}


def main() -> None:
    from sorajax.plan.compile import QUIET

    with tempfile.TemporaryDirectory() as dump:
        flags = f"--xla_jf_dump_to={dump} --xla_jf_dump_llo_text=true"
        environment = {**os.environ, **QUIET, "LIBTPU_INIT_ARGS": flags}
        subprocess.run([sys.executable, "-m", "tests.plan.make_samples", dump], env=environment, check=True)


def _child(dump: Path) -> None:
    import jax
    import jax.numpy as jnp

    from sorajax.attention import flash
    from sorajax.plan.child import topology_devices

    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,), devices=topology_devices("v5e:2x2"))
    spec = jax.sharding.PartitionSpec

    def abstract(shape: tuple[int, ...], *axes: str | None) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=jax.NamedSharding(mesh, spec(*axes)))

    def layers(x: jax.Array, weights: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jax.lax.scan(lambda x, w: (jnp.tanh(jnp.tanh(x @ w[0]) @ w[1]), None), x, weights)[0]

    def attention(q: jax.Array, lengths: jax.Array) -> jax.Array:
        def local(x: jax.Array, lengths: jax.Array) -> jax.Array:
            return flash.forward(x, x, x, lengths, heads=HEADS, **BLOCKS)[0]

        whole = jax.shard_map(local, in_specs=(spec("x"), spec("x")), out_specs=spec("x"), check_vma=False)
        return jax.lax.scan(lambda x, _: (whole(x, lengths), None), q, None, length=3)[0]

    with jax.set_mesh(mesh):
        weights = abstract((3, 512, 512), None, "x", None)
        one = jax.jit(layers).lower(abstract((8192, 512), "x", None), (weights, weights))
        _write("layers.hlo", _stripped(one.compile().as_text()))
        before = set(dump.iterdir())
        lengths = jax.ShapeDtypeStruct((4,), jnp.int32, sharding=jax.NamedSharding(mesh, spec("x")))
        two = jax.jit(attention).lower(abstract((4, LENGTH, HEADS * 128), "x", None, None), lengths)
        _write("attention.hlo", _stripped(two.compile().as_text()))
    listings = [p for p in set(dump.iterdir()) - before if re.search(r"flash.*-\d+-final_bundles\.txt$", p.name)]
    _write("attention.bundles", _control(max(listings, key=lambda p: p.stat().st_size).read_text()))


def _stripped(text: str) -> str:
    """Without source locations, and with the estimate alone of what the backend notes."""
    text = re.sub(r'"body":"[^"]*"', '"body":""', text)
    lines = []
    for line in text[text.index("\n%") if "\n%" in text else 0 :].splitlines():
        line = re.sub(r", metadata=\{[^{}]*\}", "", line)
        cycles = re.search(r'"estimated_cycles":"\d+"', line)
        if "backend_config=" in line:
            kept = f", backend_config={{{cycles[0]}}}" if cycles else ""
            line = line[: line.index(", backend_config=")] + kept
        lines.append(line)
    return "\n".join(lines).strip() + "\n"


def _control(text: str) -> str:
    kept = "|".join(
        (
            r"(?:Start|End)[^*]*region \d+",
            r"%p\w+ = scmp\.ne\.s32\.totalorder %s\w+, \d+",
            r"sbr\.rel[^}]*?\$region\d+",
            r"vmatmul",
            r", \d+ /\* loop exit test \*/",
        )
    )
    lines = []
    for line in text.splitlines():
        found = re.match(r"(\s*0(?:x[0-9a-f]+)?\s.*?:(?: >)*)", line)
        parts = " ".join(re.findall(kept, line))
        if found:
            lines.append(f"{found[1]} {{ {parts} }}")
        elif parts:
            lines[-1] += f" {parts}"
    return "\n".join(lines) + "\n"


def _write(name: str, text: str) -> None:
    SAMPLES.mkdir(exist_ok=True)
    (SAMPLES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else _child(Path(sys.argv[1]))
