"""What a strategy that only the run knows means for `fully_shard`: keyword arguments by its label.

    {"full": ((world,), None), "none": ((world, 1), None)}[strategy]

A label is what the program calls a strategy by: the member's name, a key of the user's own table,
or the member's number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fsdp_migrate.findings.code import (
    Code,
    Item,
    Literal,
    Name,
    Part,
    code,
    dictionary,
    local_variable,
    qualified,
    variable,
)

MEMBERS = ("FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD", "_HYBRID_SHARD_ZERO2")
HYBRID = frozenset({"HYBRID_SHARD", "_HYBRID_SHARD_ZERO2"})
KEEP_UNSHARDED = frozenset({"SHARD_GRAD_OP", "_HYBRID_SHARD_ZERO2"})
ON_WORLD = frozenset({"FULL_SHARD", "SHARD_GRAD_OP"})  # FSDP2's default mesh is right for these
GET_SHARDING = variable("get_sharding")
INIT_DEVICE_MESH = Name("torch.distributed.device_mesh", "init_device_mesh")
WORLD_SIZE = qualified("torch.distributed.get_world_size")
DEVICE_COUNT = qualified("torch.cuda.device_count")
STRATEGY = local_variable("strategy", beside=())
WORLD, NODE = local_variable("world", beside=()), local_variable("node", beside=())
CACHE = qualified("functools.cache")

Label = str | int
Row = tuple[Label, str]  # a label, and the member that it stands for


@dataclass(frozen=True)
class Rows:
    """The labels that can occur, each with its member; `default` is for all other labels."""

    rows: tuple[Row, ...]
    default: str | None = None

    @property
    def members(self) -> frozenset[str]:
        """The strategies that can occur."""
        found = frozenset(member for _, member in self.rows)
        return found | {self.default} if self.default is not None else found

    def labels(self, members: Iterable[str]) -> tuple[Label, ...]:
        """What `members` are called by, in the order of the rows."""
        wanted = frozenset(members)
        return tuple(label for label, member in self.rows if member in wanted)


WIDE = 100  # lines that have room for the mesh and the names of its dimensions


def rows_of(members: Iterable[str]) -> Rows:
    """The rows for members that go by their own names."""
    wanted = frozenset(members)
    return Rows(tuple((name, name) for name in MEMBERS if name in wanted))


def numbered(rows: Rows) -> Rows:
    """`rows` for members that go by their numbers."""
    return Rows(tuple((MEMBERS.index(member) + 1, member) for _, member in rows.rows))


def get_sharding(rows: Rows, device_type: str, cached: bool = False, width: int = 0) -> Code:
    """The function that gives the keyword arguments of `fully_shard` for a label.

    It is cached where it may be called more than once for one model, which has one mesh.  Lines
    are up to `width` long.
    """
    items = tuple(Item(Literal(label), _row(member)) for label, member in rows.rows)
    holes: dict[str, Part] = {
        "name": GET_SHARDING,
        "strategy": STRATEGY,
        "sizes": _sizes(rows),
        "looked_up": _looked_up(dictionary(*items), rows),
        "init": INIT_DEVICE_MESH,
        "device": Literal(device_type),
    }
    return (_cached if cached else _plain)(holes, wide=width >= WIDE)


def _plain(holes: dict[str, Part], *, wide: bool) -> Code:
    """The function itself."""
    if wide:
        return code(
            "def {name}({strategy}):\n"
            "    {sizes}\n"
            "    shape, reshard_after_forward = {looked_up}\n"
            "    mesh = {init}({device}, shape, "
            'mesh_dim_names=("replicate", "shard")[-len(shape):])\n'
            '    return {{"mesh": mesh, "reshard_after_forward": reshard_after_forward}}',
            **holes,
        )
    return code(
        "def {name}({strategy}):\n"
        "    {sizes}\n"
        "    shape, reshard_after_forward = {looked_up}\n"
        '    names = ("replicate", "shard")[-len(shape):]\n'
        "    mesh = {init}({device}, shape, mesh_dim_names=names)\n"
        '    return {{"mesh": mesh, "reshard_after_forward": reshard_after_forward}}',
        **holes,
    )


def _cached(holes: dict[str, Part], *, wide: bool) -> Code:
    """The function, run once for a label."""
    if wide:
        return code(
            "@{cache}\n"
            "def {name}({strategy}):\n"
            "    {sizes}\n"
            "    shape, reshard_after_forward = {looked_up}\n"
            "    mesh = {init}({device}, shape, "
            'mesh_dim_names=("replicate", "shard")[-len(shape):])\n'
            '    return {{"mesh": mesh, "reshard_after_forward": reshard_after_forward}}',
            cache=CACHE,
            **holes,
        )
    return code(
        "@{cache}\n"
        "def {name}({strategy}):\n"
        "    {sizes}\n"
        "    shape, reshard_after_forward = {looked_up}\n"
        '    names = ("replicate", "shard")[-len(shape):]\n'
        "    mesh = {init}({device}, shape, mesh_dim_names=names)\n"
        '    return {{"mesh": mesh, "reshard_after_forward": reshard_after_forward}}',
        cache=CACHE,
        **holes,
    )


def _sizes(rows: Rows) -> Code:
    if rows.members & HYBRID:
        return code(
            "{world}, {node} = {world_size}(), {device_count}()",
            world=WORLD,
            node=NODE,
            world_size=WORLD_SIZE,
            device_count=DEVICE_COUNT,
        )
    return code("{world} = {world_size}()", world=WORLD, world_size=WORLD_SIZE)


def _looked_up(table: Code, rows: Rows) -> Code:
    if rows.default is None:
        return code("{table}[{strategy}]", table=table, strategy=STRATEGY)
    row = _row(rows.default)
    return code("{table}.get({strategy}, {row})", table=table, strategy=STRATEGY, row=row)


def _row(member: str) -> Code:
    """The shape of the mesh, and whether weights are given back after the forward pass."""
    kept = Literal(False) if member in KEEP_UNSHARDED else Literal(None)
    if member in HYBRID:
        return code("(({world} // {node}, {node}), {kept})", world=WORLD, node=NODE, kept=kept)
    if member == "NO_SHARD":
        return code("(({world}, 1), {kept})", world=WORLD, kept=kept)
    return code("(({world},), {kept})", world=WORLD, kept=kept)


def among(strategy: Part, labels: Sequence[Label]) -> Code:
    """The test of whether a strategy is one of those with these labels."""
    several = tuple(Literal(label) for label in labels)
    if len(several) == 1:
        return code("{strategy} == {label}", strategy=strategy, label=several[0])
    return code("{strategy} in ({labels},)", strategy=strategy, labels=several)


def after_forward(strategy: Part, rows: Rows) -> Part:
    """Whether weights are given back after the forward pass, where the mesh is no matter."""
    keeping = rows.labels(KEEP_UNSHARDED)
    giving_back = rows.labels(set(MEMBERS) - KEEP_UNSHARDED)
    if rows.default in KEEP_UNSHARDED:
        test = among(strategy, giving_back)
        return code("None if {test} else False", test=test) if giving_back else Literal(False)
    if not keeping:
        return Literal(None)
    return code("False if {test} else None", test=among(strategy, keeping))
