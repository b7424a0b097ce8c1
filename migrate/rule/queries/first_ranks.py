"""Which rank is the first: of all processes, or of those that shard a model together.

`rank0_only` of FSDP1 means the first rank of each group that shards the model; `cpu_offload` of
PyTorch's state-dict functions means the first of all processes.  These are one and the same where
all processes shard the model together, and where the first of all is the only one that looks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import NONE, NOTHING, Container, Method, Result, Value
from fsdp_migrate.lowering.sharding_function import HYBRID
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.rank_tests import RANK, parts_of_test, rank_test
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

OF_ALL = frozenset({"rank", "global_rank"})
ON_ITS_NODE = "LOCAL_RANK"  # the environment variable


def shards_over_all(analysis: Analysis, plan: WrapPlan) -> bool:
    """Whether all processes shard the model together, for certain."""
    arguments = plan.fact.arguments
    if plan.fact.opaque or not plan.members or plan.members & HYBRID:
        return False
    if "process_group" in arguments and arguments["process_group"].value != NONE:
        return False
    meshes = arguments["device_mesh"].value - NONE if "device_mesh" in arguments else NOTHING
    given = "device_mesh" in arguments and arguments["device_mesh"].value != NONE
    return not given or (bool(meshes) and all(_is_line(analysis, mesh) for mesh in meshes))


def _is_line(analysis: Analysis, mesh: object) -> bool:
    """Whether it is `init_device_mesh(kind, (n,))`, which takes all processes."""
    if not isinstance(mesh, Result) or short(mesh.symbol) != "init_device_mesh":
        return False
    args, kwargs = analysis.calls[mesh.site]
    shape: Value = args[1] if len(args) > 1 else kwargs.get("mesh_shape", NOTHING)
    return bool(shape) and all(
        isinstance(s, Container) and len(analysis.item_keys(s.site)) == 1 for s in shape
    )


def runs_on_first_of_all(facts: Facts, module: Module, node: ast.AST) -> bool:
    """Whether `node` stands behind a test for the first of all ranks."""
    test = rank_test(facts, module, node)
    return test is not None and not any(
        _is_of_group(facts, home, part) for home, part in parts_of_test(facts, module, test)
    )


def _is_of_group(facts: Facts, module: Module, node: ast.AST) -> bool:
    """Whether `node` may be a rank on its node, or in a group of processes."""
    if not isinstance(node, ast.Name | ast.Attribute | ast.Call):
        return False
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    if "rank" in name and name not in OF_ALL and not _asks(facts, node):
        return True
    if isinstance(node, ast.Call) and _asks(facts, node):
        return bool(node.args or node.keywords)  # of a group
    if isinstance(node, ast.Name) and any(map(_reads_number_on_node, _given_to(module, node))):
        return True
    return any(
        isinstance(atom, Result | Method)
        and short(atom.symbol if isinstance(atom, Result) else atom.name).endswith("_rank")
        and not (isinstance(atom, Result) and atom.symbol == RANK)
        for atom in facts.value(node)
    )


def _asks(facts: Facts, node: ast.expr) -> bool:
    """Whether `node` is `torch.distributed.get_rank`, or what a call of it gave."""
    value = facts.value(node)
    return bool(value) and all(
        (atom.symbol if isinstance(atom, Result) else getattr(atom, "name", "")) == RANK
        for atom in value
    )


def _given_to(module: Module, name: ast.Name) -> Iterator[ast.expr]:
    """What a variable is bound to: its own part, where several are in one statement."""
    scope = scope_of(module, name)
    for binding in bindings(scope, name.id) if scope is not None else ():
        if not isinstance(binding, ast.Name):
            continue
        statement, target = module.statement(binding), module.parents[binding]
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        pairs = isinstance(target, ast.Tuple) and module.parents[target] is statement
        if pairs and isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            if len(target.elts) == len(value.elts) and not _has_star((*target.elts, *value.elts)):
                value = value.elts[target.elts.index(binding)]
        if value is not None:
            yield value


def _has_star(nodes: Iterable[ast.expr]) -> bool:
    return any(isinstance(node, ast.Starred) for node in nodes)


def _reads_number_on_node(value: ast.expr) -> bool:
    return any(
        isinstance(part, ast.Constant) and part.value == ON_ITS_NODE for part in nodes_in(value)
    )
