"""What each FSDP1 constructor call can become, argument by argument.

A call is lowered natively when every argument that matters is written at the call, or in one
assignment that nothing else can reach.  Whatever is known only at run time, or has no plain
FSDP2 spelling, makes the whole call one of the runtime shim's, which takes FSDP1's arguments.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import (
    Definition,
    bindings,
    definition,
    is_imported,
    removable,
    scope_of,
)
from fsdp_migrate.analysis.values import (
    NONE,
    NOTHING,
    Const,
    Container,
    Func,
    Instance,
    Result,
    Symbol,
    Value,
    Wrapped,
    constant,
    constants,
)
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.lowering.nesting import Nesting, Role
from fsdp_migrate.lowering.wrap_policy import Condition, is_docstring, lower_policy
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.span import Site

STRATEGY = f"{ROOT}.ShardingStrategy"
MIXED_PRECISION = f"{ROOT}.MixedPrecision"
CPU_OFFLOAD = f"{ROOT}.CPUOffload"
PREFETCH = f"{ROOT}.BackwardPrefetch"
HYBRID = frozenset({"HYBRID_SHARD", "_HYBRID_SHARD_ZERO2"})
KEEP_UNSHARDED = frozenset({"SHARD_GRAD_OP", "_HYBRID_SHARD_ZERO2"})
MIXED_PRECISION_FIELDS = (
    "param_dtype",
    "reduce_dtype",
    "buffer_dtype",
    "keep_low_precision_grads",
    "cast_forward_inputs",
    "cast_root_forward_inputs",
    "_module_classes_to_ignore",
)
# Arguments that FSDP2 has no need of, whatever their value.
DROPPED = frozenset({"limit_all_gathers", "use_orig_params", "forward_prefetch"})
# What makes a process work on a device of its own.
SETS_DEVICE = ("set_device", "cuda.device(", "CUDA_VISIBLE_DEVICES", "accelerate", "lightning")
NUMBER = re.compile(r"rank|gpu|_id$|index", re.IGNORECASE)  # in the name of a device that is one
LIBRARIES = ("transformers", "timm", "torchvision", "diffusers", "peft", "torch.hub")
HAS_BUFFERS = (
    "register_buffer", ".Buffer(", "BatchNorm", "InstanceNorm", "SpectralNorm", *LIBRARIES,
)  # fmt: skip
HAS_BATCH_NORM = ("BatchNorm", "torchvision", "timm", "torch.hub", "SyncBatch")
ON_META = ('"meta"', "'meta'", "init_empty_weights", "deferred_init", "to_empty(")


class NotNative(Exception):
    """Why a call can't be lowered natively."""


@dataclass
class MixedPrecisionPlan:
    """A `mixed_precision=` argument as FSDP2 wants it."""

    text: str  # the policy expression
    inline: bool  # written as a MixedPrecision(...) at the call (or in an absorbed assignment)
    optional: bool  # the expression can be None
    children_cast: bool  # units below the root cast their inputs
    root_cast: bool
    own_cast: bool  # the unit itself does, whichever of the two it is
    buffer_dtype: str | None  # an expression, "{mp}" standing for the policy
    given: str | None = None  # whether there is a precision, where that is asked at the call
    sites: frozenset[Site] = frozenset()  # MixedPrecision(...) calls to rewrite elsewhere


@dataclass
class WrapPlan:
    """What becomes of one constructor call."""

    fact: WrapFact
    native: bool = False
    reason: str = ""  # why not native
    shape: str = "expression"  # "assign", "return", "expression", or "hoisted" out of one
    condition: Condition | None = None  # which submodules are units
    root_matches: bool = False  # it may hold for the root, which no policy makes a unit
    reshard: str | None = None
    mesh: str | None = None  # an expression
    mesh_imports: tuple[str, ...] = ()
    device: str | None = None  # an expression; nothing else makes it the current device
    device_is_index: bool = False
    device_type: str = "cuda"
    offload: str | None = None
    ignored: str | None = None
    mixed_precision: MixedPrecisionPlan | None = None
    sync: bool = False
    empty_elsewhere: bool = False  # ranks but the first may have the model on the meta device
    buffers_in_no_state_dict: bool = False  # as far as they may be there
    casts_buffers: bool = False  # FSDP1 may keep buffers in another dtype than it saves them in
    comm_hook: ast.Call | None = None  # a compression hook that became a reduce_dtype
    members: frozenset[str] = frozenset()  # the sharding strategies that it can have
    absorbed: list[Definition] = field(default_factory=list)  # what may go with the call
    replaced: dict[ast.expr, str] = field(default_factory=dict)  # what becomes of it elsewhere

    @property
    def keeps_unsharded(self) -> bool | None:
        """Whether weights stay gathered until the backward pass; None if only the run knows."""
        if not self.members:
            return None
        inside = self.members & KEEP_UNSHARDED
        return bool(inside) if inside in (set(), self.members) else None

    @property
    def flat_parameters(self) -> bool:
        """Whether FSDP1 may have run with `use_orig_params=False`."""
        argument = self.fact.arguments.get("use_orig_params")
        return argument is None or constants(argument.value) != [True]

    @property
    def has_ignored(self) -> bool:
        """Whether parameters may be left out of the sharding."""
        names = ("ignored_modules", "ignored_states")
        given = [self.fact.arguments[n] for n in names if n in self.fact.arguments]
        return self.fact.opaque or any(a.value != NONE for a in given)


def plan_wraps(solver: Analysis, runtime_only: bool = False) -> dict[Site, WrapPlan]:
    """Plan every wrap site of the program."""
    nesting = Nesting(solver)
    plans = {site: _Lowering(solver, fact, nesting).plan() for site, fact in solver.wraps.items()}
    # A MixedPrecision object is rewritten natively where all its readers are native.
    while True:
        taken = {
            atom.site
            for plan in plans.values()
            if not plan.native
            for atom in _argument(plan.fact, "mixed_precision")
            if isinstance(atom, Result)
        }
        changed = False
        for plan in plans.values():
            if plan.native and plan.mixed_precision and plan.mixed_precision.sites & taken:
                plan.native = False
                plan.reason = "its MixedPrecision also reaches a wrap that only the run knows"
                changed = True
        if not changed:
            return plans


def _argument(fact: WrapFact, name: str) -> Value:
    argument = fact.arguments.get(name)
    return argument.value if argument else NOTHING


class _Lowering:
    """Lowers one call; `NotNative` from any argument ends it."""

    def __init__(self, solver: Analysis, fact: WrapFact, nesting: Nesting) -> None:
        self.solver = solver
        self.fact = fact
        self.nesting = nesting
        self.role = nesting.role(fact)
        self.module = fact.module
        self.result = WrapPlan(fact)

    def plan(self) -> WrapPlan:
        """The plan; not native if anything stands in the way."""
        plan = self.result
        plan.members = self._members()
        plan.shape = self._shape()
        plan.device_type = self._device_type()
        try:
            self._lower()
            plan.native = True
        except NotNative as error:
            plan.reason = str(error)
            plan.absorbed, plan.replaced = [], {}
            plan.casts_buffers = self._casts_buffers()
        return plan

    def _casts_buffers(self) -> bool:
        value = _argument(self.fact, "mixed_precision") - NONE
        calls = [self.solver.call_nodes.get(a.site) for a in value if isinstance(a, Result)]
        plain = len(calls) == len(value) and all(
            call is not None
            and len(call.args) < 3
            and {k.arg for k in call.keywords} <= set(MIXED_PRECISION_FIELDS) - {"buffer_dtype"}
            for call in calls
        )
        return (self.fact.opaque or not plain) and self._may_have_buffers()

    def _lower(self) -> None:
        if not self.fact.direct:
            raise NotNative("the constructor is reached through a partial or `wrap`")
        if self.fact.opaque:
            raise NotNative("arguments come in through `**`")
        self._spread()
        if any(isinstance(a, ast.Starred) for a in self.fact.node.args):
            raise NotNative("arguments come in through `*`")
        self.result.empty_elsewhere = self._is_empty_elsewhere()
        if not self.result.empty_elsewhere and self._mentions(ON_META):
            raise NotNative("modules may be on the meta device")
        for name, argument in self.fact.arguments.items():
            lower: Callable[[Argument], None] | None = getattr(self, f"_{name}", None)
            if lower is not None:
                lower(argument)
            elif name not in DROPPED and name != "module":
                raise NotNative(f"`{name}` has no native form")
        self._check_ignored()
        self._default_mesh()
        self._comm_hook()
        self._check_shape()

    def _spread(self) -> None:
        """Take `**kwargs` for what is written in the one dict that it names."""
        for keyword in self.fact.node.keywords:
            if keyword.arg is not None:
                continue
            node = keyword.value
            if isinstance(node, ast.Name):
                found = definition(self.module, node)
                if found is None or not removable(self.solver, self.module, found, self._spreads()):
                    raise NotNative("arguments come in through `**`")
                node = found.value
                self.result.absorbed.append(found)
            arguments = dict(self.fact.arguments)
            for name, value in _literal_items(self.solver, node):
                if name in arguments:
                    arguments[name] = replace(arguments[name], node=value)
            self.fact = self.result.fact = replace(self.fact, arguments=arguments)

    def _spreads(self) -> set[ast.AST]:
        """The names that wrap calls of the module spread with `**`."""
        return {
            keyword.value
            for fact in self.solver.wraps.values()
            if fact.module is self.module and fact.direct
            for keyword in fact.node.keywords
            if keyword.arg is None
        }

    # ------------------------------------------------------------------ what is known
    def _members(self) -> frozenset[str]:
        if self.fact.opaque:
            return frozenset()
        argument = self.fact.arguments.get("sharding_strategy")
        if argument is None:
            return frozenset({"FULL_SHARD"})
        names: set[str] = set()
        for atom in argument.value:
            if atom in NONE:
                names.add("FULL_SHARD")
            elif isinstance(atom, Symbol) and atom.name.startswith(f"{STRATEGY}."):
                names.add(short(atom.name))
            else:
                return frozenset()
        return frozenset(names)

    def _shape(self) -> str:
        parent = self.module.parents.get(self.fact.node)
        if isinstance(parent, ast.Assign) and len(parent.targets) == 1:
            if is_path(parent.targets[0]):
                return "assign"
        elif isinstance(parent, ast.AnnAssign) and is_path(parent.target):
            return "expression"
        elif isinstance(parent, ast.Return):
            return "return"
        return "expression"

    def _mentions(self, words: tuple[str, ...]) -> bool:
        project = self.solver.project
        names = project.program_of(self.module.name)
        return any(word in project.modules[n].source.text for n in names for word in words)

    def _check_shape(self) -> None:
        plan = self.result
        statements = (
            plan.condition is not None
            or plan.sync
            or (plan.mixed_precision is not None and plan.mixed_precision.buffer_dtype)
        )
        statements = statements or plan.offload is not None
        if plan.shape == "expression" and statements:
            if not self._is_hoistable():
                raise NotNative("the call is part of an expression")
            plan.shape = "hoisted"

    def _is_hoistable(self) -> bool:
        """Whether the model may as well be sharded right above the statement that says so."""
        node: ast.AST = self.fact.node
        around: list[ast.AST] = []
        while not isinstance(node, ast.stmt):
            node = self.module.parents[node]
            around.append(node)
        plain = (ast.Assign, ast.AnnAssign, ast.Return, ast.Expr)
        brackets = (ast.Call, ast.Tuple, ast.List, ast.Dict, ast.keyword, ast.Starred)
        if not isinstance(node, plain) or not all(isinstance(a, brackets) for a in around[:-1]):
            return False
        wraps = {fact.node for fact in self.solver.wraps.values()}
        calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and n not in around]
        inside = {n for call in calls if call in wraps for n in ast.walk(call)}
        return all(call in inside for call in calls)

    @cached_property
    def has_inner(self) -> bool:
        """Whether the module that is wrapped may hold units already."""
        return self.nesting.has_inner(self.fact)

    # ------------------------------------------------------------------ following a name
    def resolve(self, node: ast.expr | None) -> ast.expr:
        """`node`, or what the one assignment of the variable that it names says.

        Raises:
            NotNative: the value is not written where it can be seen.
        """
        if node is None:
            raise NotNative("an argument is not written at the call")
        if not isinstance(node, ast.Name):
            return node
        found = definition(self.module, node)
        if found is None:
            raise NotNative(f"`{node.id}` is known only at run time")
        self.result.absorbed.append(found)
        return found.value

    # ------------------------------------------------------------------ the arguments
    def _process_group(self, argument: Argument) -> None:
        if argument.value == NONE:
            return
        known = all(
            isinstance(a, Result) and a.symbol == "torch.distributed.new_group"
            for a in argument.value
        )
        if not known or not argument.value or argument.node is None:
            raise NotNative("the process group is known only at run time")
        if self.result.members & HYBRID or "NO_SHARD" in self.result.members:
            raise NotNative("a process group together with this sharding strategy")
        group = self.module.text(argument.node)
        self.result.mesh = f'DeviceMesh.from_group({group}, "{self.result.device_type}")'
        self.result.mesh_imports = ("DeviceMesh",)

    def _sharding_strategy(self, argument: Argument) -> None:
        members = self.result.members
        if not members:
            raise NotNative("the sharding strategy is known only at run time")
        if isinstance(argument.node, ast.Name) and not members & (HYBRID | {"NO_SHARD"}):
            if definition(self.module, argument.node) is None:
                self.result.reshard = self._chosen(argument.node)
                return
        if len(members) == 1:
            if isinstance(argument.node, ast.Name):
                self.resolve(argument.node)
            elif argument.node is None or isinstance(argument.node, ast.Subscript | ast.Call):
                raise NotNative("the sharding strategy is looked up")
            elif isinstance(argument.node, ast.Attribute) and not self._is_member(argument.node):
                raise NotNative("the sharding strategy comes from a configuration")
            self.result.reshard = "False" if members <= KEEP_UNSHARDED else None
            return
        if members & (HYBRID | {"NO_SHARD"}):
            raise NotNative("the sharding strategy is chosen at run time")
        self.result.reshard = self._reshard(self.resolve(argument.node))

    def _chosen(self, name: ast.Name) -> str:
        """The variable of a strategy, made one of what it says of the weights after a forward.

        Raises:
            NotNative: it is bound to more than members of the enum, or read elsewhere.
        """
        unsure = NotNative(f"`{name.id}` is known only at run time")
        scope = scope_of(self.module, name)
        if scope is None or (
            isinstance(scope, ast.Module) and is_imported(self.solver, self.module, name.id)
        ):
            raise unsure
        bound = list(bindings(scope, name.id))
        statements = [self.module.parents.get(binding) for binding in bound]
        same = [n for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == name.id]
        named = any(isinstance(n, ast.Constant) and n.value == name.id for n in ast.walk(scope))
        if named or {*same} != {name, *bound}:
            raise unsure
        new = "reshard_after_forward"
        while new in self.module.bound_names:
            new = f"fsdp_{new}"
        for target, statement in zip(bound, statements, strict=True):
            if not isinstance(statement, ast.Assign) or statement.targets != [target]:
                raise unsure
            self.result.replaced[statement.targets[0]] = new
            self.result.replaced[statement.value] = self._reshard(statement.value)
        return new

    def _is_member(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and self.solver.value(node.value) == frozenset(
            {Symbol(STRATEGY)}
        )

    def _reshard(self, node: ast.expr) -> str:
        if isinstance(node, ast.IfExp):
            test = self.module.text(node.test)
            return f"{self._reshard(node.body)} if {test} else {self._reshard(node.orelse)}"
        if isinstance(node, ast.Constant) and node.value is None:
            return "None"
        if self._is_member(node):
            assert isinstance(node, ast.Attribute)
            return "False" if node.attr in KEEP_UNSHARDED else "None"
        raise NotNative("the sharding strategy is chosen at run time")

    def _cpu_offload(self, argument: Argument) -> None:
        if set(argument.value) <= {Const.of(None), Const.of(False)}:
            return
        text = self._offload(self.resolve(argument.node))
        self.result.offload = None if text == "None" else text

    def _offload(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and node.value is None:
            return "None"
        if isinstance(node, ast.IfExp):
            body, orelse = self._offload(node.body), self._offload(node.orelse)
            if body == orelse:
                return body
            body, orelse = (t.replace("None", "OffloadPolicy()") for t in (body, orelse))
            return f"{body} if {self.module.text(node.test)} else {orelse}"
        if isinstance(node, ast.Call) and self.solver.value(node.func) == {Symbol(CPU_OFFLOAD)}:
            flags = [*node.args, *(k.value for k in node.keywords if k.arg)]
            if not flags:
                return "None"
            if isinstance(flags[0], ast.Constant):
                return "CPUOffloadPolicy()" if flags[0].value else "None"
            return f"CPUOffloadPolicy() if {self.module.text(flags[0])} else OffloadPolicy()"
        raise NotNative("the CPU offload is known only at run time")

    def _auto_wrap_policy(self, argument: Argument) -> None:
        if argument.value == NONE:
            return
        node = self.resolve(argument.node)
        condition = lower_policy(self.solver, self.module, node, self.result.absorbed)
        if condition is None:
            raise NotNative("the wrap policy is not a plain set of classes or a predicate")
        self.result.condition = condition
        self.result.root_matches = condition.may_hold_for(self.solver, self.fact.inner)

    def _device_id(self, argument: Argument) -> None:
        """FSDP2 shards onto the current device, which has to be the one that FSDP1 was given."""
        node, value = argument.node, argument.value - NONE
        current = "torch.cuda.current_device"
        if (
            node is None
            or not value
            or self._mentions(SETS_DEVICE)
            or self._device_type() != "cuda"
        ):
            return
        if all(isinstance(a, Result) and a.symbol == current for a in value):
            return
        scope = self.module.scope(self.fact.node)
        above = (f for f in self.solver.wraps.values() if f.module is self.module)
        if any(self.module.scope(f.node) is scope and f.site < self.fact.site for f in above):
            return
        self.result.device = self.module.text(node)
        found = definition(self.module, node) if isinstance(node, ast.Name) else None
        self.result.device_is_index = self._is_index(node) or (
            found is not None and self._is_index(found.value)
        )

    def _is_index(self, node: ast.expr) -> bool:
        """Whether `node` is the number of a device, or a device with a number."""
        if isinstance(node, ast.Name | ast.Attribute):
            return NUMBER.search(node.id if isinstance(node, ast.Name) else node.attr) is not None
        if isinstance(node, ast.Call):
            words = [*node.args, *(k.value for k in node.keywords)]
            if self.solver.value(node.func) == {Symbol("torch.device")}:
                last = words[-1] if words else None
                return len(words) > 1 or isinstance(last, ast.JoinedStr)
            return self.solver.value(node.func) == {Symbol("builtins.int")} or (
                isinstance(node.func, ast.Attribute) and node.func.attr == "get_rank"
            )
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.Mod) and not isinstance(node.left, ast.Constant)
        return isinstance(node, ast.Constant) and isinstance(node.value, int)

    def _backward_prefetch(self, argument: Argument) -> None:
        """Values and order are FSDP2's default for every member; there is nothing to keep."""

    def _mixed_precision(self, argument: Argument) -> None:
        if argument.value == NONE:
            return
        if self._mentions(HAS_BATCH_NORM) and _argument(self.fact, "auto_wrap_policy") - NONE:
            raise NotNative("BatchNorm layers keep full precision under a wrap policy")
        plan = self._mixed_precision_plan(argument)
        if plan.buffer_dtype is not None and self._is_saved():
            raise NotNative("buffers are cast, and saved in the dtype that they had")
        if plan.buffer_dtype is not None and self.has_inner:
            raise NotNative("buffers are cast unit by unit")
        self.result.mixed_precision = plan

    def _is_saved(self) -> bool:
        """Whether the program takes a state dict of the model."""
        me = Wrapped(self.fact.site)
        return any(
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "state_dict"
            and me in self.solver.value(call.func.value)
            for call in self.solver.call_nodes.values()
        )

    def _mixed_precision_plan(self, argument: Argument) -> MixedPrecisionPlan:
        calls = [a for a in argument.value if isinstance(a, Result)]
        optional = bool(argument.value & NONE)
        if not calls or any(a.symbol != MIXED_PRECISION for a in calls):
            raise NotNative("the mixed precision is known only at run time")
        if len(calls) + optional != len(argument.value) or argument.node is None:
            raise NotNative("the mixed precision is known only at run time")
        every = [self._fields(self.solver.call_nodes[a.site]) for a in calls]
        flags = [
            (_flag(f, "cast_forward_inputs", False), _flag(f, "cast_root_forward_inputs", True))
            for f in every
        ]
        if len(set(flags)) != 1:
            raise NotNative("the mixed precision is known only at run time")
        inline = argument.node
        if isinstance(inline, ast.Name) and len(calls) == 1 and not optional:
            found = definition(self.module, inline)
            if found is not None and found.value is self.solver.call_nodes[calls[0].site]:
                if removable(self.solver, self.module, found, {inline}):
                    inline = self.resolve(inline)
        if self.role is Role.EITHER:
            raise NotNative("it may be a unit inside another one, whose inputs are not cast")
        children_cast, root_cast = flags[0]
        own_cast = children_cast if self.role is Role.INNER else root_cast
        written = self._written(inline, own_cast)
        if written is not None:
            text, given = written
            cast, optional, sites = own_cast, False, frozenset[Site]()
        else:
            nodes = {self.solver.call_nodes[a.site] for a in calls}
            if nodes & set(ast.walk(argument.node)):
                raise NotNative("the mixed precision is chosen at the call")
            text, cast, sites = (
                self.module.text(inline),
                root_cast,
                frozenset(a.site for a in calls),
            )
            given = f"{text} is not None" if optional else None
        return MixedPrecisionPlan(
            text=text,
            inline=written is not None,
            optional=optional,
            children_cast=children_cast,
            root_cast=cast,
            own_cast=own_cast,
            buffer_dtype=self._buffer_dtype(every, written is not None),
            given=given,
            sites=sites,
        )

    def _written(self, node: ast.expr, cast: bool) -> tuple[str, str | None] | None:
        """The policy for what is written out at `node`, and the test of whether there is one."""
        if isinstance(node, ast.Call) and self.solver.value(node.func) == {Symbol(MIXED_PRECISION)}:
            return self._policy_call(node, cast), None
        if not isinstance(node, ast.IfExp):
            return None
        test = self.module.text(node.test)
        negated = isinstance(node.test, ast.Name | ast.Attribute | ast.Call | ast.Compare)
        given = {node.orelse: test, node.body: f"not {test}" if negated else f"not ({test})"}
        parts, tests = [], []
        for branch in (node.body, node.orelse):
            if isinstance(branch, ast.Constant) and branch.value is None:
                parts.append("MixedPrecisionPolicy()")
                tests.append(given[branch])
                continue
            inner = self._written(branch, cast) if isinstance(branch, ast.Call) else None
            if inner is None:
                return None
            parts.append(inner[0])
        return f"{parts[0]} if {test} else {parts[1]}", tests[0] if tests else None

    def _comm_hook(self) -> None:
        """Reduce gradients in the dtype that a hook, registered right after the wrap, casts to."""
        mine = Wrapped(self.fact.site)
        if self.result.mixed_precision is not None or "torch" not in self.module.bound_names:
            return
        block = self.module.block(self.module.statement(self.fact.node))
        for site, call in self.solver.call_nodes.items():
            func = call.func
            if site.module != self.module.name or not isinstance(func, ast.Attribute):
                continue
            if func.attr != "register_comm_hook" or mine not in self.solver.value(func.value):
                continue
            statement = self.module.parents[call]
            hook = [*call.args[1:], *(k.value for k in call.keywords if k.arg == "hook")]
            dtype = _hook_dtype(self.solver.value(hook[0])) if hook else None
            wraps = self.solver.wrapped(self.solver.value(func.value))
            if dtype is None or wraps != {mine} or not isinstance(statement, ast.Expr):
                return
            if statement not in block or self.role is not Role.ROOT:
                return
            self.result.comm_hook = call
            text = f"MixedPrecisionPolicy(reduce_dtype={dtype})"
            self.result.mixed_precision = MixedPrecisionPlan(
                text, True, False, True, True, True, None
            )

    def _fields(self, call: ast.Call) -> dict[str, ast.expr]:
        if any(k.arg is None for k in call.keywords) or any(
            isinstance(a, ast.Starred) for a in call.args
        ):
            raise NotNative("the mixed precision takes arguments through `**`")
        fields = dict(zip(MIXED_PRECISION_FIELDS, call.args, strict=False))
        fields |= {k.arg: k.value for k in call.keywords if k.arg}
        if "_module_classes_to_ignore" in fields:
            raise NotNative("module classes are exempt from the mixed precision")
        grads = fields.get("keep_low_precision_grads")
        if grads is not None and not (isinstance(grads, ast.Constant) and not grads.value):
            raise NotNative("gradients are kept in low precision")
        return fields

    def _policy_call(self, node: ast.expr, cast: bool) -> str:
        assert isinstance(node, ast.Call)
        fields = self._fields(node)
        parts = [
            f"{name}={self.module.text(fields[name])}"
            for name in ("param_dtype", "reduce_dtype")
            if name in fields
        ]
        if not cast:
            parts.append("cast_forward_inputs=False")
        return f"MixedPrecisionPolicy({', '.join(parts)})"

    def _buffer_dtype(self, every: list[dict[str, ast.expr]], inline: bool) -> str | None:
        given = [f["buffer_dtype"] for f in every if "buffer_dtype" in f]
        given = [g for g in given if not (isinstance(g, ast.Constant) and g.value is None)]
        if not given or not self._may_have_buffers():
            return None
        if len(given) != len(every):
            raise NotNative("the dtype of the buffers is known only at run time")
        texts = {ast.unparse(g) for g in given}
        if len(texts) == 1 and (inline or next(iter(texts)).startswith("torch.")):
            return texts.pop()
        if all("param_dtype" in f and _same(f["param_dtype"], f["buffer_dtype"]) for f in every):
            return "{mp}.param_dtype"
        raise NotNative("the dtype of the buffers is known only at run time")

    def _is_own(self) -> bool:
        """Whether the module that is wrapped is written in the program, or made of torch's."""
        return bool(self.fact.inner) and all(
            isinstance(a, Instance) or (isinstance(a, Result) and a.symbol.startswith("torch.nn."))
            for a in self.fact.inner
        )

    def _may_have_buffers(self) -> bool:
        return not self._is_own() or self._mentions(HAS_BUFFERS)

    def _keeps_buffers(self) -> bool:
        """Whether there may be buffers that are in no state dict."""
        project = self.solver.project
        if not self._is_own() or self._mentions(LIBRARIES):
            return True
        return any(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("register_buffer", "Buffer")
            and (len(node.args) > 2 or any(k.arg in ("persistent", None) for k in node.keywords))
            for name in project.program_of(self.module.name)
            for node in ast.walk(project.modules[name].tree)
        )

    def _ignored_modules(self, argument: Argument) -> None:
        if argument.value == NONE or argument.node is None:
            if argument.node is None:
                raise NotNative("the ignored modules are known only at run time")
            return
        node = argument.node
        if not isinstance(node, ast.List | ast.Tuple | ast.Set) or not node.elts:
            raise NotNative("the ignored modules are known only at run time")
        items = [self.module.text(item) for item in node.elts]
        if len(items) == 1 and not isinstance(node.elts[0], ast.Starred):
            self.result.ignored = f"set({items[0]}.parameters())"
        else:
            self.result.ignored = f"{{p for m in ({', '.join(items)},) for p in m.parameters()}}"

    def _check_ignored(self) -> None:
        mixed = self.result.mixed_precision
        if self.result.ignored is None or mixed is None:
            return
        if mixed.buffer_dtype is not None or (self.result.condition and mixed.children_cast):
            raise NotNative("inputs and buffers of ignored modules keep their dtype")

    def _ignored_states(self, argument: Argument) -> None:
        if argument.value != NONE:
            raise NotNative("`ignored_states` may hold modules or parameters")

    def _param_init_fn(self, argument: Argument) -> None:
        if argument.value != NONE and not self.result.empty_elsewhere:
            raise NotNative("`param_init_fn` materialises modules")

    def _is_empty_elsewhere(self) -> bool:
        """Whether all that `param_init_fn` does is to make room for what rank 0 broadcasts."""
        init = _argument(self.fact, "param_init_fn") - NONE
        sync = constants(_argument(self.fact, "sync_module_states"))
        if not init or not sync or set(sync) != {True} or _argument(self.fact, "cpu_offload"):
            return False
        return all(isinstance(a, Func) and self._only_makes_room(a.site) for a in init)

    def _only_makes_room(self, function: Site) -> bool:
        node = self.solver.functions[function].node
        body: ast.AST | None = node.body if isinstance(node, ast.Lambda) else None
        if not isinstance(node, ast.Lambda):
            statements = [s for s in node.body if not is_docstring(s)]
            if len(statements) == 1 and isinstance(statements[0], ast.Expr | ast.Return):
                body = statements[0].value
        return (
            isinstance(body, ast.Call)
            and isinstance(body.func, ast.Attribute)
            and body.func.attr == "to_empty"
            and [a.arg for a in node.args.args[:1]] == [ast.unparse(body.func.value)]
        )

    def _sync_module_states(self, argument: Argument) -> None:
        known = constants(argument.value)
        if known is None or len(set(known)) != 1:
            raise NotNative("`sync_module_states` is known only at run time")
        self.result.sync = bool(known[0])
        if self.result.sync and {"process_group", "ignored_modules", "ignored_states"} & set(
            self.fact.arguments
        ):
            raise NotNative("states are synchronised inside a process group")
        self.result.buffers_in_no_state_dict = self._may_have_buffers() and self._keeps_buffers()
        if self.result.sync and (self.role is not Role.ROOT or self.has_inner):
            raise NotNative("states are synchronised unit by unit")

    def _device_mesh(self, argument: Argument) -> None:
        if argument.value == NONE:
            return
        if argument.node is None:
            raise NotNative("the device mesh is known only at run time")
        for atom in argument.value:
            if isinstance(atom, Result) and short(atom.symbol) == "init_device_mesh":
                args, kwargs = self.solver.calls[atom.site]
                shape = args[1] if len(args) > 1 else kwargs.get("mesh_shape", NOTHING)
                one = any(
                    isinstance(s, Container) and len(self.solver.item_keys(s.site)) == 1
                    for s in shape
                )
                if not one and "mesh_dim_names" not in kwargs and len(args) < 3:
                    raise NotNative("FSDP2 wants names for the dimensions of the mesh")
        self.result.mesh = self.module.text(argument.node)

    def _default_mesh(self) -> None:
        plan = self.result
        if plan.mesh is not None:
            return
        device = self.result.device_type
        world = "dist.get_world_size()"
        names = 'mesh_dim_names=("replicate", "shard")'
        if plan.members == {"NO_SHARD"}:
            plan.mesh = f'init_device_mesh("{device}", ({world}, 1), {names})'
        elif plan.members and plan.members <= HYBRID:
            per_node = "torch.cuda.device_count()"
            plan.mesh = (
                f'init_device_mesh("{device}", ({world} // {per_node}, {per_node}), {names})'
            )
        elif device == "cpu" or plan.offload is not None:
            plan.mesh = f'init_device_mesh("{device}", ({world},))'
        if plan.mesh is None:
            return
        plan.mesh_imports = ("init_device_mesh",)
        if self.role is not Role.ROOT or self.has_inner:
            raise NotNative("the units of one model share a mesh")

    def _device_type(self) -> str:
        for atom in _argument(self.fact, "device_id"):
            if isinstance(atom, Result) and atom.symbol == "torch.device":
                args, kwargs = self.solver.calls.get(atom.site, ([], {}))
                kind = constant(args[0] if args else kwargs.get("type", NOTHING))
                if kind is not None and isinstance(kind.value, str):
                    return kind.value.partition(":")[0]
        return "cuda"


def _literal_items(solver: Analysis, node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The items of a dict display or a `dict(...)` call.

    Raises:
        NotNative: it is anything else, or a key isn't a literal.
    """
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                raise NotNative("arguments come in through `**`")
            yield key.value, value
    elif isinstance(node, ast.Call) and solver.value(node.func) == {Symbol("builtins.dict")}:
        if node.args or any(k.arg is None for k in node.keywords):
            raise NotNative("arguments come in through `**`")
        yield from ((str(k.arg), k.value) for k in node.keywords)
    else:
        raise NotNative("arguments come in through `**`")


def _hook_dtype(value: Value) -> str | None:
    """The dtype that a compression hook of torch casts gradients to, or None for other hooks."""
    names = {atom.name if isinstance(atom, Symbol) else "" for atom in value}
    name = names.pop() if len(names) == 1 else ""
    if not name.startswith("torch.distributed.algorithms._comm_hooks."):
        return None
    return {"bf16_compress_hook": "torch.bfloat16", "fp16_compress_hook": "torch.float16"}.get(
        short(name)
    )


def _flag(fields: dict[str, ast.expr], name: str, default: bool) -> bool:
    node = fields.get(name)
    if node is None:
        return default
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    raise NotNative(f"`{name}` is known only at run time")


def _same(one: ast.expr, other: ast.expr) -> bool:
    return ast.dump(one) == ast.dump(other)


def is_path(node: ast.expr) -> bool:
    """Whether `node` is a name or a dotted path of names."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)
