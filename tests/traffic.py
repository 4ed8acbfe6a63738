"""A compiled step -> the bytes that a device receives in it, by the kind of collective.

    python -m tests.traffic

With eight devices it prints the table of `docs/devices.md`.
"""

import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jax.sharding import NamedSharding, PartitionSpec

import warp_jax as wj
import warp_jax._fit as fitting


WIDTH = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "pred": 1}
KINDS = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
# Of a ring of n devices: what each one receives, in parts of the operation's result.
RING = {
    "all-gather": lambda n: (n - 1) / n,
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "reduce-scatter": lambda n: n - 1,
    "all-to-all": lambda n: (n - 1) / n,
    "collective-permute": lambda n: 1,
}
OPERATION = re.compile(rf"= (.*?) ({KINDS})(?:-start)?\((.*)")
HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
CALLED = re.compile(
    r"(body|condition|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)"
)
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


def size_of(result: str) -> int:
    """Returns the bytes of a result, as `(f32[3,4]{1,0}, pred[])`."""
    return sum(
        WIDTH[kind] * math.prod(int(n) for n in shape.split(",") if n)
        for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", result)
    )


def group_of(rest: str) -> int:
    """Returns how many devices take part with one another."""
    if "source_target_pairs" in rest:
        return 1
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if tiled := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(tiled[1])
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", rest)
    assert listed, rest[:200]
    return len(listed[1].split(","))


def received(text: str) -> Counter:
    """Returns what one device receives, as `compiled.as_text()` has it: bytes by the kind
    of collective. What is in a loop counts as often as it turns.
    """
    own: dict[str, Counter] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    entry = name = ""
    for line in text.splitlines():
        if header := HEADER.match(line):
            name = header[2]
            own[name], calls[name] = Counter(), []
            entry = name if header[1] else entry
        elif found := OPERATION.search(line):
            result, kind, rest = found.groups()
            own[name][kind] += size_of(result) * RING[kind](group_of(rest))
        elif name:
            trips = TRIPS.search(line)
            assert " while(" not in line or trips, line[:200]
            turns = int(trips[1]) if trips else 1
            for _, called in CALLED.findall(line):
                calls[name].append((called, turns))
            for branches in BRANCHES.findall(line):
                calls[name] += [(b.strip(" %"), 1) for b in branches.split(",")]

    def total(name: str) -> Counter:
        summed = Counter(own[name])
        for called, turns in calls[name]:
            for kind, size in total(called).items():
                summed[kind] += turns * size
        return summed

    return total(entry)


@contextlib.contextmanager
def spied() -> Iterator[list]:
    """Gives a list of what the last step of each training got and gave."""
    update, seen = fitting._update, []

    def spy(*given):
        made = update(*given)
        seen[:] = [(update, given, made)]
        return made

    fitting._update = spy
    try:
        yield seen
    finally:
        fitting._update = update


def compiled(seen) -> str:
    ((update, given, _),) = seen
    return update.lower(*given).compile().compiled.as_text()


def traffic():
    """What a step receives is what the page of devices says, and says why."""

    def measured(transition, axes, last, steps=64, roll=wj.AutoRoll(), **more):
        mesh = jax.make_mesh(tuple(axes.values()), tuple(axes))
        split = wj.SequenceParallelRoll(mesh, "time") if "time" in axes else roll
        network = eqx.nn.MLP(1, 2, 25, 2, jax.nn.silu, key=jr.key(0))
        decoder = wj.NetworkDecoder(network)
        model = wj.WARP(
            decoder=decoder,
            transition=transition(decoder.state_size),
            initial=wj.LearntInitial(decoder.flatten(network)),
            roll=split,
        )
        read = lambda model, xs: (model.last if last else model)(xs)  # noqa: E731
        loss = lambda m, xs, key: jnp.mean(jax.vmap(read, (None, 0))(m, xs) ** 2)  # noqa: E731
        options = {"steps": 1, "key": jr.key(0), "report": None, "mesh": mesh} | more
        xs = [jr.normal(jr.key(1), (16, steps, 2))]
        with spied() as seen:
            wj.fit(model, loss, xs, optax.adam(1e-3), **options)
        weights = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
        got = received(compiled(seen)).total()
        return got, 4 * sum(leaf.size for leaf in weights), 4 * 16 * steps * 752

    dense = lambda size: wj.DenseTransition(size, 2)  # noqa: E731
    low_rank = lambda size: wj.LowRankTransition(size, 2, 16, key=jr.key(2))  # noqa: E731
    batch, state, time = ({"batch": n} for n in (8, 1, 1))
    state, time = state | {"state": 8}, time | {"time": 8}
    ring, rows = 7 / 8, {"placement": wj.SplitRows("state")}

    def pieces(numbers, states):
        # The gradient, and a state of 35 coefficients for each piece, forth and back.
        return 2 * numbers + 8 * 8 * 16 * 35

    def turns(count):
        # What readings share has a gradient of every turn of them, summed there.
        return lambda numbers, states: 2 * count * numbers

    table: tuple[Any, ...] = (
        ("data, dense", (dense, batch, False), {}, lambda n, s: 2 * n),
        ("data, dense, last", (dense, batch, True), {}, lambda n, s: 63 * 2 * n),
        (
            "data, dense, last, in chunks",
            (dense, batch, True),
            {"roll": wj.ChunkedRoll(8)},
            lambda n, s: 2 * n,
        ),
        ("data, low rank", (low_rank, batch, False), {}, turns(2)),
        ("data, low rank, 512", (low_rank, batch, False, 512), {}, turns(16)),
        ("tensor, dense, last", (dense, state, True), rows, lambda n, s: 4 * s),
        ("tensor, dense", (dense, state, False), rows, lambda n, s: 8 * s),
        ("time, low rank", (low_rank, time, False), {}, pieces),
        ("time, low rank, 512", (low_rank, time, False, 512), {}, pieces),
    )
    for name, way, options, formula in table:
        got, numbers, states = measured(*way, **options)
        want = ring * formula(numbers, states)
        print(f"{name}: {want / 1e6:.3g} MB expected, {got / 1e6:.3g} MB measured")
        assert 0.5 < got / want < 1.4, name


def own_loop():
    """A gradient of one's own, of a batch on eight devices: it travels once where
    `jax.set_mesh` has told of them, and else steps are gathered too.
    """
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=auto)
    apart = NamedSharding(mesh, PartitionSpec("batch"))
    whole = NamedSharding(mesh, PartitionSpec())
    network = eqx.nn.MLP(1, 2, 25, 2, jax.nn.silu, key=jr.key(0))
    decoder = wj.NetworkDecoder(network)
    model = wj.WARP(
        decoder=decoder,
        transition=wj.DenseTransition(decoder.state_size, 2),
        initial=wj.LearntInitial(decoder.flatten(network)),
    )
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    xs = jr.normal(jr.key(1), (16, 64, 2))

    def got(told):
        # Of a function of its own, for what was traced before knows no other mesh.
        def loss(weights, xs):
            return jnp.mean(jax.vmap(eqx.combine(weights, rest))(xs) ** 2)

        step = jax.jit(jax.grad(loss), in_shardings=(whole, apart), out_shardings=whole)
        with jax.set_mesh(mesh) if told else contextlib.nullcontext():
            text = step.lower(weights, xs).compile().as_text()
        assert text is not None
        return received(text).total()

    once = 2 * 7 / 8 * 4 * sum(leaf.size for leaf in jax.tree.leaves(weights))
    told, untold = got(True) / once, got(False) / once
    print(f"own loop: {told:.3g} gradients with `jax.set_mesh`, {untold:.3g} without")
    assert told < 1.05 and untold > 1.2


if __name__ == "__main__":
    traffic()
    own_loop()
    print("all equal")
