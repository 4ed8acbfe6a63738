"""A compiled step -> the bytes that a device receives in it, by the kind of collective."""

import math
import re
from collections import Counter


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
