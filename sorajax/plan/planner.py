"""Plan a task: compile it for a slice on several meshes, time each, and say which is best and what it costs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from sorajax.errors import InputError
from sorajax.plan import chips, compile, costs, kernels, meshes, predict
from sorajax.plan.chips import Topology
from sorajax.plan.hlo import Module
from sorajax.plan.program import resting_bytes
from sorajax.plan.request import Request

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One mesh: what the compiler and the prediction say of it. Figures are those of one device."""

    mesh: dict[str, int]
    fits: bool
    needs: int
    """Bytes wanted at once; ``memory`` has its parts if it fits."""
    memory: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds of products, elementwise work, Pallas kernels, and waits for collectives and copies."""
    flops: float = 0
    """As they run, recomputation included."""
    hbm_bytes: float = 0
    collectives: tuple[dict[str, Any], ...] = ()
    kernels: tuple[dict[str, Any], ...] = ()
    slowest: tuple[dict[str, Any], ...] = ()
    """What XLA spends most on: instruction, its result's type, the traced operation it comes from, seconds."""
    utilisation: float | None = None
    """Useful FLOPs of all devices over what they could do at peak (MFU)."""
    assumed: tuple[str, ...] = ()
    """Kernels whose length is not known, taken to run at the peak rate."""
    compile_seconds: float = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer: attempts in the order tried, and the fastest that fits."""

    request: Request
    slice_: Topology
    attempts: tuple[Attempt, ...]
    steps: int | None
    watts: float | None
    libtpu: str

    @property
    def best(self) -> Attempt | None:
        """The fastest mesh that fits, if any does."""
        fitting = [a for a in self.attempts if a.fits and a.seconds is not None]
        return min(fitting, key=lambda a: a.seconds or 0.0, default=None)

    @property
    def nearest(self) -> Attempt | None:
        """Where nothing fits, the mesh that needs the least memory."""
        return min((a for a in self.attempts if not a.error), key=lambda a: a.needs, default=None)

    @property
    def hours(self) -> float | None:
        """Of all steps, if their number is known."""
        best = self.best
        return None if best is None or best.seconds is None or not self.steps else best.seconds * self.steps / HOUR

    @property
    def chip_hours(self) -> float | None:
        """What the job is billed for: all chips of the slice, as long as it takes."""
        return None if self.hours is None else self.hours * self.slice_.chips

    @property
    def kilowatt_hours(self) -> float | None:
        """Of all devices and steps, if their power is known."""
        if self.hours is None or self.watts is None:
            return None
        return self.hours * self.watts * self.slice_.devices / 1000

    @property
    def remedies(self) -> list[str]:
        """What to change so that it fits; empty if it does."""
        return (
            [] if self.best is not None or self.nearest is None else _remedies(self.request, self.slice_, self.nearest)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``--json`` prints them."""
        chip, best = self.slice_.chip, self.best
        return {
            "model": self.request.model.name,
            "task": self.request.task,
            "topology": self.slice_.name,
            "chips": self.slice_.chips,
            "devices": self.slice_.devices,
            "size": [self.request.width, self.request.height],
            "frames": self.request.frames,
            "batch": self.request.batch,
            "tokens": self.request.tokens,
            "hbm_bytes_per_device": chip.hbm_usable,
            "libtpu": self.libtpu,
            "fits": best is not None,
            "best": None if best is None else best.mesh,
            "seconds_per_step": None if best is None else best.seconds,
            "mfu": None if best is None else best.utilisation,
            "steps": self.steps,
            "hours": self.hours,
            "chip_hours": self.chip_hours,
            "kilowatt_hours": self.kilowatt_hours,
            "remedies": self.remedies,
            "attempts": [asdict(attempt) for attempt in self.attempts],
        }


def plan(
    request: Request,
    topology: str,
    *,
    mesh: dict[str, int] | None = None,
    tries: int = 3,
    steps: int | None = None,
    watts: float | None = None,
    timeout: float = HOUR,
    progress: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Plan a request for a topology such as "v5p:2x2x2", on ``mesh`` (axis -> size) or the ``tries`` likeliest ones.

    steps is the job's number of steps (default for ``sample``: the model's), watts a device's power (default: what is
    published), timeout the seconds each compile may take. Raises InputError for a topology, mesh or size that does
    not exist or does not divide, without libtpu, and if the compiler refuses every mesh.
    """
    for name, value in (("tries", tries), ("steps", steps), ("timeout", timeout), ("watts", watts)):
        if value is not None and value <= 0:
            raise InputError(f"{name} is {value}; give a number above 0")
    slice_ = chips.parse(topology)
    resting = resting_bytes(request)
    found = [meshes.check(request, mesh, slice_)] if mesh else meshes.candidates(request, slice_, resting)
    libtpu = compile.check_libtpu()
    attempts: list[Attempt] = []
    for sizes in found[:tries]:
        progress(f"compiling for {slice_.name}: {mesh_name(sizes)}")
        attempts.append(_try(request, slice_, sizes, timeout))
    spare = meshes.thriftiest(found)
    if not any(a.fits for a in attempts) and spare not in found[:tries]:
        progress(f"compiling for {slice_.name}: {mesh_name(spare)}, the thriftiest")
        attempts.append(_try(request, slice_, spare, timeout))
    if all(a.error for a in attempts):
        raise InputError(attempts[0].error)
    if steps is None and request.task == "sample":
        steps = request.model.sample.steps
    return Plan(
        request=request,
        slice_=slice_,
        attempts=tuple(attempts),
        steps=steps if request.task in ("train", "sample") else steps or 1,
        watts=slice_.chip.watts if watts is None else watts,
        libtpu=libtpu,
    )


def mesh_name(sizes: dict[str, int]) -> str:
    """As in "fsdp=4 seq=2"; axes of size 1 are left out."""
    return " ".join(f"{axis}={size}" for axis, size in sizes.items() if size > 1) or "one device"


def _try(request: Request, slice_: Topology, sizes: dict[str, int], timeout: float) -> Attempt:
    try:
        return _attempt(request, slice_, sizes, timeout)
    except InputError as error:
        return Attempt(mesh=sizes, fits=False, needs=0, error=str(error))


def _attempt(request: Request, slice_: Topology, sizes: dict[str, int], timeout: float) -> Attempt:
    compiled = compile.compile_program(request, slice_, sizes, timeout=timeout)
    chip = slice_.chip
    if not compiled.fits:
        return Attempt(mesh=sizes, fits=False, needs=compiled.needs, compile_seconds=compiled.record["compile_seconds"])
    lengths = compile.kernel_lengths(compiled.kernels, request, slice_, sizes, timeout=timeout)
    clock = kernels.Clock(chip, compiled.kernels, lengths)
    time = predict.time(compiled.module, predict.Device(slice_, compiled.coordinates, clock.time))
    kernel_flops = sum(calls.flops for calls in time.calls.values())
    could = time.seconds * chip.peak * slice_.devices
    return Attempt(
        mesh=sizes,
        fits=compiled.needs <= chip.hbm_usable,
        needs=compiled.needs,
        memory=compiled.memory,
        seconds=time.seconds,
        parts=time.parts,
        flops=costs.flops(compiled.module) + kernel_flops,
        hbm_bytes=time.bytes,
        collectives=tuple(
            {"kind": kind, "asynchronous": asynchronous, **asdict(traffic)}
            for (kind, asynchronous), traffic in sorted(time.traffic.items())
        ),
        kernels=tuple({"name": name, **asdict(calls)} for name, calls in time.calls.items()),
        slowest=_slowest(compiled.module, time.instructions),
        utilisation=compiled.useful_flops / could if could else None,
        assumed=tuple(sorted(clock.assumed)),
        compile_seconds=compiled.record["compile_seconds"],
    )


def _slowest(module: Module, seconds: dict[str, float], count: int = 10) -> tuple[dict[str, Any], ...]:
    instructions = {name: one for c in module.computations.values() for name, one in c.instructions.items()}
    most = sorted(seconds, key=lambda name: -seconds[name])[:count]
    return tuple(
        {
            "instruction": name,
            "result": ", ".join(map(str, instructions[name].arrays)),
            "origin": instructions[name].origin,
            "seconds": seconds[name],
        }
        for name in most
    )


def _remedies(request: Request, slice_: Topology, tried: Attempt) -> list[str]:
    """Slices with enough memory, if it divides among devices as it does now; and what takes less."""
    whole = 1.05 * tried.needs * slice_.devices  # 5 %: what does not divide
    enough = []
    for chip in sorted(chips.CHIPS.values(), key=lambda c: c.name != slice_.chip.name):
        own = (chips.parse(n) for n in chips.names() if n.startswith(f"{chip.name}:"))
        fitting = [
            t
            for t in own
            if t.devices * chip.hbm_usable >= whole and (t.devices > slice_.devices or chip != slice_.chip)
        ]
        if fitting:
            enough.append(min(fitting, key=lambda t: t.chips).name)
    advice = [f"a slice with more memory: {', '.join(enough)}"] if enough else []
    temporaries = tried.memory.get("temporaries", 0)
    if request.task == "train" and request.remat != "block":
        advice.append(f'remat "block" instead of "{request.remat}"')
    apart = tried.mesh["data"] * tried.mesh["fsdp"]
    if request.task == "train" and request.batch // request.accumulate > apart:
        advice.append(f"the batch in more parts than {request.accumulate} (accumulate)")
    if request.batch > 1 and request.task != "text":
        advice.append(f"a smaller batch than {request.batch}")
    if not tried.memory or temporaries > tried.needs / 2:
        advice.append(f"fewer frames or a smaller size than {request.frames} of {request.width}x{request.height}")
    return advice
