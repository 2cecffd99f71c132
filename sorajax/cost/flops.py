"""The arithmetic of a program, counted before it is compiled: FLOPs of its products, from the jaxpr."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


def equations(jaxpr: Any, times: int = 1, devices: int = 1) -> Iterator[tuple[Any, int, int]]:
    """Every equation that is not a container, with how often it runs and on how many devices a local one does.

    Of a ``cond`` that chooses by platform a TPU's branch is taken, of others the longest; a ``while`` is taken to run
    once, as its count is not known.
    """
    for equation in jaxpr.eqns:
        yield from _within(equation, times, devices)


def _within(equation: Any, times: int = 1, devices: int = 1) -> Iterator[tuple[Any, int, int]]:
    name, params = equation.primitive.name, equation.params
    if name == "pallas_call":
        yield equation, times, devices
    elif name == "scan":
        yield from equations(params["jaxpr"].jaxpr, times * params["length"], devices)
    elif name == "cond":
        yield from equations(_branch(params), times, devices)
    elif name == "shard_map":
        yield from equations(params["jaxpr"], times, devices * _manual(params))
    else:
        inner = [j for value in params.values() for j in _jaxprs(value)]
        # A rule for derivatives travels along as a second program that does not run.
        if inner and name in ("custom_vjp_call", "custom_jvp_call"):
            inner = inner[:1]
        for one in inner:
            yield from equations(one, times, devices)
        if not inner:
            yield equation, times, devices


def _manual(params: dict[str, Any]) -> int:
    """How many devices run the inside of a ``shard_map``."""
    sizes = dict(params["mesh"].shape)
    return math.prod(sizes[axis] for axis in params.get("manual_axes", sizes))


def _consts_and_carries(equation: Any, body: Any) -> tuple[int, int]:
    """How many of a scan's inputs are given to each round alike, and how many go from one to the next.

    Read from shapes, as its parameters are not the same in all versions of JAX: inside, the others lack an axis.
    """
    alike = [
        len([a for a, b in zip(*pair, strict=True) if len(a.aval.shape) == len(b.aval.shape)])
        for pair in ((equation.invars, body.invars), (equation.outvars, body.outvars))
    ]
    return alike[0] - alike[1], alike[1]


def _branch(params: dict[str, Any]) -> Any:
    branches = [closed.jaxpr for closed in params["branches"]]
    for platforms, jaxpr in zip(params.get("branches_platforms") or (), branches, strict=False):
        if platforms is None or "tpu" in platforms:  # None: the default, which is the last
            return jaxpr
    return max(branches, key=lambda jaxpr: len(jaxpr.eqns))


def _jaxprs(value: Any) -> Iterator[Any]:
    for one in value if isinstance(value, (tuple, list)) else (value,):
        inner = getattr(one, "jaxpr", one)
        if hasattr(inner, "eqns"):
            yield inner


def flops(jaxpr: Any) -> float:
    """FLOPs of dots, convolutions and the dots inside Pallas kernels, of all devices together."""
    return sum(of_equation(equation) * times * devices for equation, times, devices in equations(jaxpr))


def of_training(jaxpr: Any, trained: int) -> float:
    """FLOPs that a step of training is worth whose loss ``jaxpr`` is; its first ``trained`` inputs are trained.

    A product is made once forwards, and once backwards for each of its operands that depends on what is trained: three
    times in all where both do, twice where one is a frozen weight. What is computed again to save memory is not in it,
    so that rates compare (PaLM, arXiv 2204.02311, appendix B).
    """
    return _training(jaxpr, [i < trained for i in range(len(jaxpr.invars))])[0]


def _training(jaxpr: Any, given: Sequence[bool]) -> tuple[float, list[bool]]:
    """FLOPs of a program some of whose inputs depend on what is trained, and which of its outputs do."""
    depends = {id(var) for var, does in zip(jaxpr.invars, given, strict=True) if does}
    total = 0.0
    for equation in jaxpr.eqns:
        inputs = [id(var) in depends for var in equation.invars]
        count, outputs = _training_of(equation, inputs)
        total += count
        depends |= {id(var) for var, does in zip(equation.outvars, outputs, strict=True) if does}
    return total, [id(var) in depends for var in jaxpr.outvars]


def _training_of(equation: Any, inputs: list[bool]) -> tuple[float, list[bool]]:
    name, params = equation.primitive.name, equation.params
    every = [any(inputs)] * len(equation.outvars)
    if name == "scan":
        body = params["jaxpr"].jaxpr
        consts, carries = _consts_and_carries(equation, body)
        while True:  # what is carried may come to depend on what is trained in a later round
            count, outputs = _training(body, inputs)
            later = [a or b for a, b in zip(inputs[consts : consts + carries], outputs, strict=False)]
            if later == inputs[consts : consts + carries]:
                return params["length"] * count, outputs
            inputs = inputs[:consts] + later + inputs[consts + carries :]
    inner = _branch(params) if name == "cond" else next((j for v in params.values() for j in _jaxprs(v)), None)
    if name == "pallas_call" or inner is None:
        return of_equation(equation) * (1 + min(2, sum(inputs))), every  # a kernel may have lengths beside its factors
    own = inputs[1:] if name == "cond" else inputs
    if len(inner.invars) != len(own):  # a loop of unknown length, or what is not known here: all depends on all
        own = [any(inputs)] * len(inner.invars)
    count, outputs = _training(inner, own)
    times = _manual(params) if name == "shard_map" else 1
    return times * count, outputs if len(outputs) == len(every) else every


def of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (summed, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[d] for d in summed)
    if name == "conv_general_dilated":
        kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
        features = params["dimension_numbers"].rhs_spec[0]
        return 2.0 * math.prod(out) * math.prod(kernel) / kernel[features]
    if name == "pallas_call":
        if params.get("cost_estimate") is not None:  # its author's word; parts may be alternatives
            return float(params["cost_estimate"].flops)
        inner = sum(of_equation(e) * times for e, times, _ in inside_kernel(params["jaxpr"]))
        return inner * math.prod(params["grid_mapping"].grid)
    return 0.0


def inside_kernel(jaxpr: Any) -> Iterator[tuple[Any, int, int]]:
    """As ``equations``, but every conditional part counts: blocks that a mask empties are taken for full ones."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cond":
            for branch in equation.params["branches"]:
                yield from inside_kernel(branch.jaxpr)
        elif equation.primitive.name == "scan":
            length = equation.params["length"]
            for one, times, devices in inside_kernel(equation.params["jaxpr"].jaxpr):
                yield one, times * length, devices
        else:
            inner = [j for value in equation.params.values() for j in _jaxprs(value)]
            for one in inner:
                yield from inside_kernel(one)
            if not inner:
                yield equation, 1, 1


@dataclass
class Tally:
    """FLOPs of the ``counted`` functions that were called."""

    flops: float = 0.0
    _known: dict[int, tuple[Any, float]] = field(default_factory=dict, repr=False)

    def add(self, jaxpr: Any) -> None:
        """A program was run. It is kept, so that no other has its id."""
        if id(jaxpr) not in self._known:
            self._known[id(jaxpr)] = jaxpr, flops(jaxpr)
        self.flops += self._known[id(jaxpr)][1]


_TALLY: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextlib.contextmanager
def tally() -> Iterator[Tally]:
    """Count what ``counted`` functions compute while this is open."""
    opened = Tally()
    token = _TALLY.set(opened)
    try:
        yield opened
    finally:
        _TALLY.reset(token)


def counted(compiled: Any) -> Callable[..., Any]:
    """A jitted function whose FLOPs go to the tally that is open, if one is. Its trace is the one it runs by."""

    def call(*args: Any, **options: Any) -> Any:
        if (open_one := _TALLY.get()) is not None:
            open_one.add(compiled.trace(*args, **options).jaxpr.jaxpr)
        return compiled(*args, **options)

    return call
