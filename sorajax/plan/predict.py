"""How long a compiled program takes: its schedule, played through on a model of one device.

The compiled text lists instructions in the order in which they are issued. The device is modelled as a core that
runs one instruction at a time, a queue of copies between HBM and VMEM, and a queue of collectives on the links:

- a fusion or copy takes ``estimated_cycles / clock``, the compiler's own figure; what has none takes
  max(bytes of HBM / HBM rate, FLOPs / peak);
- a Pallas kernel takes its grid's steps times the bundles of a step, or the cycles that the matrix units need for
  it if these are more, / clock (``kernels``);
- a collective takes its bytes over the links of its group (``network``). A synchronous one holds the core; an
  asynchronous one enters the links' queue at its start, and at its end the core waits for what is left of it.
  Fusions that compute while a collective goes on count as computing. Copies between memories go alike, and so does
  what is left to another core (SparseCore);
- a loop takes its body's time as often as it runs, a conditional its longest branch.

time = core busy (products + elementwise + kernels) + waits for collectives + waits for copies. The parts are returned
apart. A fusion with a product in it counts as a product, with whatever else is in it.

Against four published step times of another toolkit's Wan 14B on v6e and tpu7x, its own program compiled and timed
so was off by -13 % to +13 % (``benchmarks/plan_accuracy.py``). What is not modelled: power limits and clocks below the
nominal one, start-up times of collectives, hosts that do not keep up, and waiting for memory inside Pallas kernels.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from sorajax.plan import costs, network
from sorajax.plan.chips import Topology
from sorajax.plan.hlo import Array, Computation, Instruction, Module, groups, pairs
from sorajax.plan.kernels import Calls
from sorajax.plan.network import Coordinates

PARTS = ("products", "elementwise", "kernels", "collectives", "copies")
KernelTime = Callable[[str, list[Array], float], tuple[str, Calls]]
"""One Pallas call, from its name, operands and bytes moved, and what to list it as; may raise InputError for an unknown
one."""


@dataclass
class Traffic:
    """Collectives of one kind: how many run, bytes a device holds in them and sends, their time on the links."""

    count: float = 0
    bytes: float = 0
    sent: float = 0
    """By the algorithms that send least: each byte of another device's comes once."""
    seconds: float = 0

    def add(self, other: "Traffic", times: float) -> None:
        """Another part's, so many times."""
        self.count += times * other.count
        self.bytes += times * other.bytes
        self.sent += times * other.sent
        self.seconds += times * other.seconds


@dataclass
class Time:
    """Seconds of one device, by what it is doing; ``copies`` and ``collectives`` are waits."""

    products: float = 0
    """XLA's instructions with a dot or convolution in them."""
    elementwise: float = 0
    """Its others: norms, casts, reductions, and arrays laid out anew."""
    kernels: float = 0
    collectives: float = 0
    copies: float = 0
    bytes: float = 0
    """Of HBM, read and written."""
    traffic: dict[tuple[str, bool], Traffic] = field(default_factory=lambda: defaultdict(Traffic))
    """By kind, and whether asynchronous."""
    calls: dict[str, Calls] = field(default_factory=lambda: defaultdict(Calls))
    """Pallas calls by kernel."""
    instructions: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds of products and elementwise by instruction."""

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, float]:
        """What ``seconds`` is made of."""
        return {name: getattr(self, name) for name in PARTS}

    def add(self, other: "Time", times: float) -> None:
        """What another part of the program does, so many times."""
        for name in (*PARTS, "bytes"):
            setattr(self, name, getattr(self, name) + times * getattr(other, name))
        for kind, traffic in other.traffic.items():
            self.traffic[kind].add(traffic, times)
        for name, calls in other.calls.items():
            self.calls[name].add(calls, times)
        for name, seconds in other.instructions.items():
            self.instructions[name] += times * seconds

    def send(self, other: "Time", *, asynchronous: bool) -> None:
        """The collectives of another core's part, whose time is its own."""
        for (kind, _), traffic in other.traffic.items():
            self.traffic[kind, asynchronous].add(traffic, 1)

    def core(self, instruction: str, seconds: float, product: bool) -> None:
        """The core does nothing but this."""
        if product:
            self.products += seconds
        else:
            self.elementwise += seconds
        self.instructions[instruction] += seconds


@dataclass(frozen=True)
class Device:
    """What a program is timed on."""

    slice_: Topology
    where: Coordinates
    kernel_time: KernelTime


def time(module: Module, device: Device) -> Time:
    """Play the program through once."""
    return _Player(module, device).run(module.entry)


class _Player:
    def __init__(self, module: Module, device: Device):
        self.module, self.device, self.chip = module, device, device.slice_.chip
        self.known: dict[str, Time] = {}

    def run(self, name: str) -> Time:
        """Time of a computation that starts with empty queues."""
        if name not in self.known:
            self.known[name] = self._run(self.module.computations[name])
        return self.known[name]

    def _run(self, where: Computation) -> Time:
        spent = Time()
        links = copies = apart = 0.0  # when each queue is empty
        ready: dict[str, float] = {}  # when what was started is done
        sending: set[str] = set()  # of these, calls of another core that hold a collective
        for one in where.instructions.values():
            if one.opcode in costs.FREE:
                if one.opcode in ("get-tuple-element", "bitcast") and one.operands and one.operands[0] in ready:
                    ready[one.name] = ready[one.operands[0]]
                continue
            now = spent.seconds
            spent.bytes += 0 if one.opcode == "call-start" else costs.hbm_bytes(self.module, where, one)
            part = self._collective_part(where, one)
            if part is not None:
                stage, channel, kind, inside, collective = part
                if stage in ("start", "all"):
                    took = self._links(kind, inside, collective, spent, stage == "start")
                    if stage == "start":
                        links = max(links, now) + took
                        ready[channel] = links
                    else:
                        # What is under way is before it in the queue.
                        links = max(links, now) + took
                        spent.collectives += links - now
                elif stage == "done" and channel in ready:
                    spent.collectives += max(0.0, ready.pop(channel) - now)
                if one.cycles is not None and stage != "start":
                    spent.core(one.name, one.cycles / self.chip.clock, costs.has_product(self.module, one))
            elif one.opcode in ("copy-start", "slice-start", "dynamic-slice-start", "dynamic-update-slice-start"):
                copies = max(copies, now) + costs.hbm_bytes(self.module, where, one) / self.chip.hbm_rate
                ready[one.name] = copies
            elif one.opcode in ("call-start", "async-start"):  # a computation on another core, as tpu7x's SparseCore
                other = self.run(one.called.get("to_apply") or one.called["calls"])
                if other.traffic:
                    links = ready[one.name] = max(links, now) + other.seconds
                    sending.add(one.name)
                else:
                    apart = ready[one.name] = max(apart, now) + other.seconds
                spent.send(other, asynchronous=True)
                spent.bytes += other.bytes
            elif one.opcode.endswith(("-done", "-update")):
                ended = ready.get(one.operands[0], now) if one.operands else now
                if one.opcode.endswith("-update"):
                    ready[one.name] = ended
                elif one.operands and one.operands[0] in sending:
                    spent.collectives += max(0.0, ended - now)
                else:
                    spent.copies += max(0.0, ended - now)
            elif one.opcode == "while":
                spent.add(self.run(one.called["body"]), self.module.trips(one))
            elif one.opcode == "conditional":
                spent.add(max((self.run(b) for b in one.branches), key=lambda t: t.seconds), 1)
            elif one.opcode == "call":
                spent.add(self.run(one.called["to_apply"]), 1)
            elif one.target == "tpu_custom_call":
                moved = costs.hbm_bytes(self.module, where, one)
                listed, call = self.device.kernel_time(kernel_name(one), where.operand_arrays(one), moved)
                spent.kernels += call.seconds
                spent.calls[listed].add(call, 1)
            else:
                spent.core(one.name, self._core(where, one), costs.has_product(self.module, one))
        return spent

    def _collective_part(
        self, where: Computation, one: Instruction
    ) -> tuple[str, str, str, Computation, Instruction] | None:
        """Which part of which collective an instruction is: all of it, its start, middle or end."""
        kind = costs.kind_of(one.opcode)
        if kind is not None:
            stage = "start" if one.opcode.endswith("-start") else "all"
            return stage, one.name, kind, where, one
        if one.opcode.endswith("-done") and costs.kind_of(one.opcode.removesuffix("-done")):
            return "done", one.operands[0], one.opcode.removesuffix("-done"), where, one
        if one.opcode not in ("fusion", "async-start", "async-done") or "calls" not in one.called:
            return None
        found = costs.collective_in(self.module, one.called["calls"])
        if found is None:
            return None
        inside, collective = found
        kind = costs.kind_of(collective.opcode)
        assert kind is not None
        if one.opcode != "fusion":
            stage = one.opcode.removeprefix("async-")
            return stage, one.name if stage == "start" else one.operands[0], kind, inside, collective
        body = self.module.computations[one.called["calls"]].instructions.values()
        targets = {i.target for i in body}
        channel = f"channel {collective.channel}"
        if costs.START in targets:
            return "start", channel, kind, inside, collective
        if costs.DONE in targets:
            return "done", channel, kind, inside, collective
        if one.called["calls"].startswith("async_collective_fusion"):
            return "middle", channel, kind, inside, collective
        if kind == "all-reduce" and any(i.opcode == "dynamic-slice" for i in body):
            kind = "reduce-scatter"  # a sum of which each device keeps its part
        return "all", channel, kind, inside, collective

    def _links(self, kind: str, inside: Computation, one: Instruction, spent: Time, asynchronous: bool) -> float:
        group = groups(one.attributes, len(self.device.where))[0]
        size = costs.collective_bytes(kind, inside, one, len(group))
        took = network.seconds(kind, size, group, pairs(one.attributes), self.device.where, self.device.slice_)
        traffic = spent.traffic[kind, asynchronous]
        traffic.count += 1
        traffic.bytes += size
        traffic.sent += size * network.sent(kind, len(group))
        traffic.seconds += took
        return took

    def _core(self, where: Computation, one: Instruction) -> float:
        if one.cycles is not None:
            return one.cycles / self.chip.clock
        if one.opcode == "custom-call":
            return 0.0  # names of memory, not work: ConcatBitcast, AllocateBuffer
        flops = costs.product(where, one)
        return max(costs.hbm_bytes(self.module, where, one) / self.chip.hbm_rate, flops / self.chip.peak)


def kernel_name(one: Instruction) -> str:
    """The name that a Pallas call was given, without what tells its copies apart, as in ".1" and ".clone"."""
    return re.sub(r"(\.(\d+|clone|remat\d*|sunk|\w+_ref))+$", "", one.name)
