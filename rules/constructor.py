"""`FullyShardedDataParallel(module, ...)` becomes `fully_shard(module, ...)`, units first.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

What the rule won't do natively: arguments that only the run knows (`**kwargs`, a strategy out of
a configuration), policies that count parameters, modules on the meta device.  There the call
becomes the runtime shim's `fully_shard_from_fsdp1`, which takes FSDP1's arguments as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.finding import (
    Edit,
    Finding,
    Import,
    InsertStatements,
    ReplaceExpression,
    ReplaceStatement,
    Tier,
)
from fsdp_migrate.findings.spelling import torch_path
from fsdp_migrate.lowering.wrap_call import WrapPlan, is_path
from fsdp_migrate.rule.dead_code import removals, removed_nodes
from fsdp_migrate.rule.rule import Example, Facts, Rule, Use, finding, runtime
from fsdp_migrate.rule.shim_types import carried, take_from_shim
from fsdp_migrate.rules._surfaces import CONSTRUCTOR
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.span import Span

DSD = "torch.distributed.checkpoint.state_dict"


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace the constructor call that `use` is the callee of."""
    plan = facts.wraps.get(use.module.site(use.call)) if use.call is not None else None
    if plan is None or use.name != FSDP1:
        return
    unit = facts.units([Wrapped(plan.fact.site)])
    unknown_names = set(plan.fact.arguments) - KNOWN
    if unknown_names or "module" not in plan.fact.arguments:
        words = ", ".join(f"`{n}`" for n in sorted(unknown_names)) or "no module"
        yield finding(
            RULE,
            use,
            f"this FSDP call has {words} and can't run under FSDP1 either; correct or remove it",
            tier=Tier.SHIM,  # whose function refuses the call just as FSDP1 does
            units=unit,
            edits=[ReplaceExpression(use.module.span(use.node), "fully_shard_from_fsdp1")],
            imports=[runtime("fully_shard_from_fsdp1")],
        )
        return
    if plan.native:
        yield _native(use, facts, plan, unit)
    else:
        inside = set(ast.walk(plan.fact.node))
        types = [u for u in carried(facts, use.module) if u.node in inside]
        edits, imports = take_from_shim(types)
        callee = ReplaceExpression(use.module.span(use.node), "fully_shard_from_fsdp1")
        yield finding(
            RULE,
            use,
            f"FSDP(...) becomes fully_shard_from_fsdp1(...): {plan.reason}",
            tier=Tier.SHIM,
            edits=[callee, *edits],
            imports=[runtime("fully_shard_from_fsdp1"), *imports],
            units=unit,
        )
    yield from _notes(use, plan, unit)


def _notes(use: Use, plan: WrapPlan, unit: frozenset[str]) -> Iterator[Finding]:
    messages = []
    if plan.members == {"NO_SHARD"}:
        messages.append(
            "NO_SHARD becomes a (world, 1) mesh, which trains the same; "
            "DistributedDataParallel is the leaner choice"
        )
    if plan.offload is not None:
        messages.append(
            "with CPU offload, clipping and full state dicts need a CPU backend too: "
            'init_process_group("cpu:gloo,cuda:nccl")'
        )
    if plan.native and plan.device is not None and not _sets_device(plan):
        messages.append(
            "FSDP2 shards onto the current device: call torch.cuda.set_device() with "
            f"`{plan.device}` first, if nothing does"
        )
    for message in messages:
        yield finding(RULE, use, message, tier=Tier.NOTE, units=unit)


def _sets_device(plan: WrapPlan) -> bool:
    """Whether the device is made the current one above the model."""
    return plan.device is not None and plan.device_is_index and plan.shape != "expression"


KNOWN = frozenset(
    {
        "module", "process_group", "sharding_strategy", "cpu_offload", "auto_wrap_policy",
        "backward_prefetch", "mixed_precision", "ignored_modules", "param_init_fn", "device_id",
        "sync_module_states", "forward_prefetch", "limit_all_gathers", "use_orig_params",
        "ignored_states", "device_mesh",
    }
)  # fmt: skip


def _native(use: Use, facts: Facts, plan: WrapPlan, unit: frozenset[str]) -> Finding:
    writer = _Writer(use, facts, plan)
    elsewhere = [ReplaceExpression(use.module.span(n), text) for n, text in plan.replaced.items()]
    edits = [*writer.edits(), *elsewhere, *removals(facts, use.module, plan.absorbed)]
    return finding(
        RULE,
        use,
        "FSDP(...) becomes fully_shard(...)",
        tier=Tier.NATIVE,
        edits=edits,
        imports=writer.imports,
        units=unit,
    )


class _Writer:
    """Writes the statements (or the expression) that a call becomes."""

    def __init__(self, use: Use, facts: Facts, plan: WrapPlan) -> None:
        assert use.call is not None
        self.use, self.facts, self.plan = use, facts, plan
        self.module = use.module
        self.call = use.call
        argument = plan.fact.arguments["module"].node
        assert argument is not None
        self.argument: ast.expr = argument
        self.imports: set[Import] = {Import(ROOT, "fully_shard")}
        self.before: list[str] = []
        self.after: list[str] = []

    def edits(self) -> list[Edit]:
        """The edits that replace the call."""
        hole: tuple[Span, ...] = (self.module.span(self.argument),)
        if self.plan.shape == "expression":
            shared, root, _ = self._keywords("{0}")
            text = self._in_expression(["{0}", *shared, *root])
            return [ReplaceExpression(self.module.span(self.call), text, hole)]
        statement = self.module.statement(self.call)
        span = self.module.span(statement)
        if self.plan.shape == "hoisted":
            made = "" if is_path(self.argument) else self._fresh("model")
            model, lines, sharded = self._units(statement, made)
            if self.after:
                lines, sharded = [*lines, sharded, *self.after], model
            inside = ReplaceExpression(self.module.span(self.call), sharded)
            return [InsertStatements(span, "\n".join(lines), hole), inside]
        return [ReplaceStatement(span, "\n".join(self._statements(statement)), hole)]

    def _in_expression(self, arguments: list[str]) -> str:
        """The call on one line, or an argument a line where the old one was laid out so."""
        call = self.call
        line = f"fully_shard({', '.join(arguments)})"
        length = call.col_offset + len(line) + len(self.module.text(self.argument))
        if call.lineno == call.end_lineno or length <= self.module.line_length:
            return line
        start = self.module.lines[call.lineno - 1]
        around = self.module.lines[self.module.statement(call).lineno - 1]
        inside = _indent(start).removeprefix(_indent(around))
        lines = [*(f"    {argument}," for argument in arguments), ")"]
        return "\n".join(["fully_shard(", *(inside + line for line in lines)])

    def _statements(self, statement: ast.stmt) -> list[str]:
        """What takes the place of an assignment or a return."""
        target = None
        if isinstance(statement, ast.Assign):
            target = self.module.text(statement.targets[0])
        model, lines, sharded = self._units(statement, target or "model")
        if isinstance(statement, ast.Return):
            if self.after:
                return [*lines, sharded, *self.after, f"return {model}"]
            return [*lines, f"return {sharded}"]
        rename = target is not None and target != model
        return [*lines, f"{target} = {sharded}" if rename else sharded, *self.after]

    def _units(self, statement: ast.stmt, made: str) -> tuple[str, list[str], str]:
        """The name of the model, the lines that shard its units, and the call for the root.

        A model that has no name yet is called `made`.
        """
        named = is_path(self.argument)
        model = self.module.text(self.argument) if named else made
        lines = [] if named else [f"{model} = {{0}}"]
        if _sets_device(self.plan):
            cuda, need = torch_path(self.module, "torch.cuda")
            self.imports |= {need} if need is not None else set()
            self.before.append(f"{cuda}.set_device({self.plan.device})")
        shared, root, child = self._keywords(model)
        long = len(", ".join(shared)) > (30 if len(shared) > 1 else 50)
        if self.plan.condition is not None and long:
            names = [k.partition("=") for k in shared]
            items = ", ".join(f'"{n}": {v}' for n, _, v in names)
            kwargs = self._fresh("fsdp_kwargs")
            line = f"{kwargs} = {{{items}}}"
            if len(line) > self.module.line_length - self.module.span(statement).col:
                inner = "".join(f'    "{n}": {v},\n' for n, _, v in names)
                line = f"{kwargs} = {{\n{inner}}}"
            self.before.append(line)
            shared = [f"**{kwargs}"]
        if self.plan.sync:
            self._sync(model)
        self.after += self._buffers(model)
        lines += self.before
        if self.plan.condition is not None:
            variable, test = self.plan.condition.variable, self.plan.condition.text
            if self.plan.root_matches:
                test = self.plan.condition.without(model)
            modules = f"{model}.modules()"
            if self.plan.condition.nested:
                modules = f"reversed(list({modules}))"
                lines.append("# children before their parents")
            lines += [f"for {variable} in {modules}:"]
            lines += [f"    if {test}:"]
            lines += _indented(self._call("fully_shard", [variable, *shared, *child], 8), 8)
        return model, lines, self._call("fully_shard", [model, *shared, *root])

    # ------------------------------------------------------------------ arguments
    def _keywords(self, model: str) -> tuple[list[str], list[str], list[str]]:
        """Keyword arguments of all calls, of the root alone, and of the other units alone."""
        plan = self.plan
        shared: list[str] = []
        if plan.mesh is not None:
            shared.append(f"mesh={self._mesh(plan.mesh)}")
        if plan.reshard is not None:
            shared.append(f"reshard_after_forward={plan.reshard}")
        if plan.offload is not None:
            self.imports.add(Import(ROOT, "CPUOffloadPolicy"))
            mesh = shared[0].partition("=")[2]
            if "OffloadPolicy()" in plan.offload.replace("CPUOffloadPolicy()", ""):
                self.imports.add(Import(ROOT, "OffloadPolicy"))
            pinned = f'CPUOffloadPolicy(pin_memory={mesh}.device_type != "cpu")'
            offload = plan.offload.replace("CPUOffloadPolicy()", pinned)
            shared.append(f"offload_policy={offload}")
        if plan.ignored is not None:
            shared.append(f"ignored_params={self._named('ignored_params', plan.ignored)}")
        root, child = self._precision()
        if root == child:
            return [*shared, *root], [], []
        return shared, root, child

    def _mesh(self, text: str) -> str:
        for name in self.plan.mesh_imports:
            self.imports.add(Import("torch.distributed.device_mesh", name))
        if not self.plan.mesh_imports:
            return text
        text = text.replace("dist.get_world_size()", f"{self._dist()}.get_world_size()")
        if "torch.cuda" in text:
            path, need = torch_path(self.module, "torch.cuda")
            text = text.replace("torch.cuda", path)
            self.imports |= {need} if need is not None else set()
        return self._named("mesh", text)

    def _dist(self) -> str:
        path, need = torch_path(self.module, "torch.distributed")
        if need is not None:
            self.imports.add(need)
        return path

    def _named(self, name: str, text: str) -> str:
        """Give an expression a name, where there are statements to put it in."""
        if self.plan.shape == "expression":
            return text
        name = self._fresh(name)
        self.before.append(f"{name} = {text}")
        return name

    def _fresh(self, name: str) -> str:
        removed = removed_nodes(self.facts, self.module)
        gone = {
            target.id
            for found in self.plan.absorbed
            if isinstance(found, ast.Assign) and found.value in removed
            for target in found.targets
            if isinstance(target, ast.Name)
        }
        while name in self.module.bound_names - gone:
            name = f"fsdp_{name}"
        return name

    def _precision(self) -> tuple[list[str], list[str]]:
        mixed = self.plan.mixed_precision
        if mixed is None:
            return [], []
        self.imports.add(Import(ROOT, "MixedPrecisionPolicy"))
        has_children = self.plan.condition is not None
        text = mixed.text
        if mixed.optional:
            text = f"{text} or MixedPrecisionPolicy()"
        uses = 1 + has_children + bool(mixed.buffer_dtype and "{mp}" in mixed.buffer_dtype)
        if uses > 1 and not text.isidentifier():
            text = self._named("mp_policy", text)
        self.policy = text
        root = [f"mp_policy={self._casting(text, mixed.root_cast, mixed.own_cast)}"]
        if not has_children:
            return root, root
        return root, [f"mp_policy={self._casting(text, mixed.root_cast, mixed.children_cast)}"]

    def _casting(self, policy: str, casts: bool, wanted: bool) -> str:
        """`policy`, which casts inputs or not, as one that does as wanted."""
        if casts == wanted:
            return policy
        self.imports.add(Import("dataclasses", "replace"))
        return f"replace({policy}, cast_forward_inputs={wanted})"

    def _call(self, name: str, arguments: list[str], inside: int = 0) -> str:
        """A call on one line, or below it the arguments on one line, or on a line each."""
        statement = self.module.statement(self.call)
        room = self.module.line_length - self.module.span(statement).col - inside
        words = ", ".join(arguments)
        if "\n" not in words:
            if len(name) + 2 + len(words) <= room:
                return f"{name}({words})"
            if 4 + len(words) <= room:
                return f"{name}(\n    {words}\n)"
        inner = "".join(f"    {argument},\n" for argument in arguments)
        return f"{name}(\n{inner})"

    def _sync(self, model: str) -> None:
        dist = self._dist()
        state = self._fresh("full_state_dict")
        self.before.append(f"{state} = {model}.state_dict() if {dist}.get_rank() == 0 else {{}}")
        for name in ("StateDictOptions", "set_model_state_dict"):
            self.imports.add(Import(DSD, name))
        if self.plan.empty_elsewhere:
            self.after.append(f"if {dist}.get_rank() != 0:")
            self.after.append(f'    {model}.to_empty(device="{self.plan.device_type}")')
        options = "options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)"
        self.after.append(self._call("set_model_state_dict", [model, state, options]))
        self.after.append(f"del {state}")

    def _buffers(self, model: str) -> list[str]:
        """The loop over the buffers: from rank 0 to all, then to their dtype."""
        mixed, buffer = self.plan.mixed_precision, self._fresh("buffer")
        loop = f"for {buffer} in {model}.buffers():"
        share = []
        if self.plan.sync and self.plan.buffers_in_no_state_dict:
            share = [f"    {self._dist()}.broadcast({buffer}, src=0)"]
        if mixed is None or mixed.buffer_dtype is None:
            return [loop, *share] if share else []
        dtype = mixed.buffer_dtype.replace("{mp}", self.policy)
        test = f"{buffer}.is_floating_point()"
        if "{mp}" in mixed.buffer_dtype and mixed.given is not None:
            test += f" and {dtype} is not None"
        cast = [f"    if {test}:", f"        {buffer}.data = {buffer}.to({dtype})"]
        if mixed.given is not None and "{mp}" not in mixed.buffer_dtype:
            inner = [f"    {line}" for line in [loop, *cast]]
            alone = [loop, *share] if share else []
            return [*alone, f"if {mixed.given}:", *inner]
        return [loop, *share, *cast]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _indented(text: str, by: int) -> list[str]:
    return [" " * by + line for line in text.split("\n")]


RULE = Rule(
    code="FSDP101",
    name="constructor",
    summary="`FullyShardedDataParallel(...)` becomes `fully_shard(...)`, unit by unit",
    why="FSDP2 shards a module in place; units are sharded before the module that holds them.",
    fix_safety=(
        "Safe: the same units communicate the same parameters in the same order, so losses, "
        "gradients and parameters stay bit for bit the same on two ranks."
    ),
    check=check,
    symbols=(FSDP1,),
    surfaces=CONSTRUCTOR,
    references=("https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html",),
    examples=(
        Example(
            before="""\
import torch
from model import Block, Transformer
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

model = FSDP(
    Transformer(),
    auto_wrap_policy=ModuleWrapPolicy({Block}),
    device_id=torch.cuda.current_device(),
    limit_all_gathers=True,
)
""",
            after="""\
from model import Block, Transformer
from torch.distributed.fsdp import fully_shard

model = Transformer()
for module in model.modules():
    if isinstance(module, Block):
        fully_shard(module)
fully_shard(model)
""",
        ),
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def shard(model, config):
    return FSDP(model, **config.fsdp)
""",
            after="""\
from fsdp_migrate.runtime import fully_shard_from_fsdp1

def shard(model, config):
    return fully_shard_from_fsdp1(model, **config.fsdp)
""",
        ),
    ),
)
