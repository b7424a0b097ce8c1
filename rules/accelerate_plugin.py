"""Accelerate's `FullyShardedDataParallelPlugin(...)` gets `fsdp_version=2` and FSDP2's arguments.

https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2

What the rule won't do: arguments that only the run knows, `NO_SHARD` (Accelerate has plain data
parallelism for that), and wrap policies that are functions, which Accelerate's FSDP2 leaves
out of account without a word.  Hybrid sharding becomes a `ParallelismConfig` of the `Accelerator`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fsdp_migrate.analysis.definitions import Definition, definition, removable
from fsdp_migrate.analysis.values import (
    NONE,
    Const,
    Result,
    Symbol,
    Value,
    constant,
    constants,
    symbols,
)
from fsdp_migrate.findings.finding import Edit, Finding, Import, ReplaceStatement, Safety, Tier
from fsdp_migrate.findings.text_arguments import Arguments
from fsdp_migrate.frameworks import settings as frameworks
from fsdp_migrate.frameworks.settings import sentences
from fsdp_migrate.lowering.wrap_policy import lower_policy
from fsdp_migrate.rule.queries.accelerator import is_mixed, lonely_prepares, takers
from fsdp_migrate.rule.rule import Example, Facts, Rule, Use, finding, finding_at
from fsdp_migrate.syntax.fsdp1_names import ROOT, is_fsdp1, short

PLUGIN = tuple(
    f"accelerate{home}.FullyShardedDataParallelPlugin"
    for home in ("", ".utils", ".utils.dataclasses", ".accelerator")
)
MIXED_PRECISION = f"{ROOT}.MixedPrecision"
CONFIGS = ("state_dict_config", "optim_state_dict_config")
AS_THEY_ARE = frozenset(
    {
        "activation_checkpointing",
        "activation_checkpointing_offload",
        "cpu_ram_efficient_loading",
        "ignored_modules",
        "min_num_params",
        "transformer_cls_names_to_wrap",
    }
)


class _Manual(Exception):
    """Why a person has to decide; `paths` are other files that wait for it."""

    def __init__(self, message: str, paths: Iterable[Path] = ()) -> None:
        super().__init__(message)
        self.paths = frozenset(paths)


@dataclass
class _Plan:
    """What becomes of one plugin."""

    arguments: Arguments
    notes: list[str] = field(default_factory=list)
    imports: set[Import] = field(default_factory=set)
    gone: set[ast.AST] = field(default_factory=set)  # what the fix takes the place of
    absorbed: list[Definition] = field(default_factory=list)  # what nothing reads any more
    hybrid: bool = False
    safety: Safety = Safety.SAFE


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Turn one plugin into its FSDP2 form, or say what is in the way."""
    if use.call is None or _version(use, facts) == 2:
        return
    try:
        plan = _Planner(use, facts).plan()
        accelerator = _accelerator(use, facts) if plan.hybrid else None
    except _Manual as reason:
        units = frozenset(f"file {path}" for path in reason.paths)
        yield finding(RULE, use, str(reason), tier=Tier.MANUAL, units=units)
        return
    message = sentences("FullyShardedDataParallelPlugin(...) gets fsdp_version=2", *plan.notes)
    edits: list[Edit] = [
        plan.arguments.edit(),
        *(ReplaceStatement(use.module.span(s), "") for s in plan.absorbed),
    ]
    units = frozenset[str]()
    if accelerator is not None:
        units = frozenset({f"file {use.module.path}", f"file {accelerator.module.path}"})
        yield finding_at(
            RULE,
            accelerator.module,
            accelerator.node,
            "hybrid sharding becomes a ParallelismConfig of the Accelerator (1.10 or newer)",
            tier=Tier.NATIVE,
            edits=[accelerator.edit()],
            imports=frameworks.HYBRID_IMPORTS,
            units=units,
        )
    yield finding(
        RULE,
        use,
        message,
        tier=Tier.NATIVE,
        edits=edits,
        imports=plan.imports,
        safety=plan.safety,
        units=units,
    )
    yield from _prepared(facts)


def absorbs(use: Use, facts: Facts) -> Iterable[ast.AST]:
    """The nodes of the arguments that are left out or written anew."""
    if use.call is None or _version(use, facts) == 2:
        return ()
    try:
        plan = _Planner(use, facts).plan()
    except _Manual:
        return ()
    return plan.gone


def survey(facts: Facts) -> Iterator[Finding]:
    """Policies that are put into a plugin afterwards."""
    for module in facts.solver.project.modules.values():
        for node in ast.walk(module.tree) if module.rewrite else ():
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and node.attr == "auto_wrap_policy"
                and isinstance(node.value, ast.Attribute | ast.Name)
                and module.text(node.value).endswith("fsdp_plugin")
            ):
                yield finding_at(
                    RULE,
                    module,
                    node,
                    "Accelerate's FSDP2 leaves a wrap policy that is a function out of account "
                    "and shards the model as one unit; name the layer classes in "
                    "transformer_cls_names_to_wrap (FSDP2 needs no units of their own for LoRA)",
                    tier=Tier.MANUAL,
                )


# ---------------------------------------------------------------------- one plugin
def _version(use: Use, facts: Facts) -> object:
    assert use.call is not None
    given = next((k.value for k in use.call.keywords if k.arg == "fsdp_version"), None)
    known = constant(facts.value(given)) if given is not None else None
    return known.value if known is not None else given


class _Planner:
    """Goes through the arguments of a plugin."""

    def __init__(self, use: Use, facts: Facts) -> None:
        assert use.call is not None
        self.use, self.facts, self.module = use, facts, use.module
        self.arguments = Arguments(use.module, use.call)
        self.result = _Plan(self.arguments)

    def plan(self) -> _Plan:
        """The plan.

        Raises:
            _Manual: a person has to decide.
        """
        names = [item.name for item in self.arguments.items]
        if any(name is None for name in names):
            raise _Manual(
                "arguments come in by position or through `**`; pass them by name, so that what "
                "FSDP2 has not can be left out"
            )
        version = _version(self.use, self.facts)
        if version not in (None, 1):
            raise _Manual("`fsdp_version` is known only at run time; decide for 2")
        for name in [n for n in names if n is not None]:
            self._argument(name)
        self._strategy()
        self._state_dicts()
        self._caveats()
        self.arguments.put("fsdp_version", "2", first=True)
        self._settle()
        return self.result

    def _settle(self) -> None:
        """Keep the definitions that something else reads."""
        plan, followed = self.result, list(dict.fromkeys(self.result.absorbed))
        plan.absorbed = []
        for statement in reversed(followed):
            if removable(self.facts.solver, self.module, statement, plan.gone):
                plan.gone |= set(ast.walk(statement))
                plan.absorbed.append(statement)

    def _argument(self, name: str) -> None:
        handler = getattr(self, f"_{name}", None)
        if name in frameworks.GONE:
            if name == "sync_module_states" and self._flag(name) is not False:
                self._unsynchronised()
            self._drop(name)
        elif handler is not None:
            handler()
        elif name in AS_THEY_ARE:
            self._keep(name)

    # ------------------------------------------------------------------ strategies
    def _strategy(self) -> None:
        given = [n for n in ("sharding_strategy", "reshard_after_forward") if n in self.arguments]
        if not given:
            self.result.notes.append(
                "what it leaves out comes from the launcher's FSDP_* variables: migrate its "
                "configuration file too"
            )
            return
        member = self._member(given[0])
        if member == "NO_SHARD":
            raise _Manual(
                "NO_SHARD is plain data parallelism, which Accelerate's FSDP2 has not; make the "
                "Accelerator without an fsdp_plugin, and it uses DistributedDataParallel"
            )
        for name in given:
            self._forget(name)
        self.arguments.put(
            "reshard_after_forward", str(frameworks.RESHARD[member]), instead_of=given[0]
        )
        if len(given) == 2 and given[0] in self.arguments:
            self.arguments.drop(given[0])
        self.result.hybrid = member in frameworks.HYBRID

    def _member(self, name: str) -> str:
        value = self.facts.value(self.arguments.value(name)) - NONE
        members = {
            frameworks.strategy(a.value)
            if isinstance(a, Const)
            else frameworks.strategy(short(a.name))
            if isinstance(a, Symbol) and is_fsdp1(a.name)
            else None
            for a in value
        }
        if len(members) != 1 or None in members:
            raise _Manual(
                f"`{name}` is known only at run time; pass reshard_after_forward=True for "
                "FULL_SHARD, False for SHARD_GRAD_OP; hybrid sharding takes a ParallelismConfig "
                "of the Accelerator as well, NO_SHARD no fsdp_plugin at all",
                self._homes(value),
            )
        return str(members.pop())

    # ------------------------------------------------------------------ precision, offload
    def _mixed_precision_policy(self) -> None:
        name = "mixed_precision_policy"
        node = self._source(name)
        value = self.facts.value(node)
        if value and value <= NONE:
            return
        if isinstance(node, ast.Dict):
            self._precision_dict(node)
        elif isinstance(node, ast.Call) and self.facts.value(node.func) == {
            Symbol(MIXED_PRECISION)
        }:
            self._precision_object(node)
        elif constants(value) is None:
            raise _Manual(
                "the mixed precision is made elsewhere; Accelerate's FSDP2 takes torch's "
                "MixedPrecisionPolicy, which has no buffer_dtype",
                self._homes(value),
            )
        self._lower_precision()

    def _precision_object(self, node: ast.Call) -> None:
        fields = {k.arg: k.value for k in node.keywords if k.arg}
        names = ("param_dtype", "reduce_dtype", "buffer_dtype", "keep_low_precision_grads")
        fields |= dict(zip(names, node.args, strict=False))
        low = fields.get("keep_low_precision_grads")
        spread = any(k.arg is None for k in node.keywords)
        if spread or (low is not None and constants(self.facts.value(low)) != [False]):
            raise _Manual("this mixed precision has no FSDP2 form; write a MixedPrecisionPolicy")
        kept = [n for n in ("param_dtype", "reduce_dtype") if n in fields]
        parts = [f"{n}={self.module.text(fields[n])}" for n in kept]
        root = fields.get("cast_root_forward_inputs")
        if root is not None and constants(self.facts.value(root)) == [False]:
            parts.append("cast_forward_inputs=False")
        self._forget("mixed_precision_policy")
        self.arguments.put_parts("mixed_precision_policy", "MixedPrecisionPolicy()", *parts)
        self.result.imports.add(Import(ROOT, "MixedPrecisionPolicy"))

    def _precision_dict(self, node: ast.Dict) -> None:
        inner = Arguments(self.module, node)
        if "buffer_dtype" not in inner:
            return
        compute = inner.value("param_dtype")
        if compute is None:
            raise _Manual("`mixed_precision_policy` has no param_dtype; Accelerate asks for one")
        items = [
            ("output_dtype", compute) if item.name == "buffer_dtype" else (item.name, item.value)
            for item in inner.items
        ]
        text = ", ".join(f'"{name}": {self.module.text(value)}' for name, value in items if value)
        self._write("mixed_precision_policy", f"{{{text}}}")

    def _cpu_offload(self) -> None:
        node = self._source("cpu_offload")
        value = self.facts.value(node)
        if isinstance(node, ast.Call) and symbols(self.facts.value(node.func)) == {
            f"{ROOT}.CPUOffload"
        }:
            given = [*node.args, *(k.value for k in node.keywords)]
            self._write("cpu_offload", self.module.text(given[0]) if given else "False")
        elif self._names_fsdp1(value):
            raise _Manual("`cpu_offload` is made elsewhere; pass True or False", self._homes(value))

    # ------------------------------------------------------------------ wrapping
    def _auto_wrap_policy(self) -> None:
        node = self.arguments.value("auto_wrap_policy")
        assert node is not None
        value = self.facts.value(node)
        named = constant(value)
        if named is not None:
            self._named_policy(named.value)
            return
        if symbols(value) == {f"{ROOT}.wrap.transformer_auto_wrap_policy"}:
            self._write("auto_wrap_policy", '"transformer_based_wrap"')
            return
        condition = lower_policy(self.facts.solver, self.module, node, self.result.absorbed)
        if condition is None or condition.open or not condition.is_class_test:
            raise _Manual(
                "Accelerate's FSDP2 takes no wrap policy that is a function, it would shard the "
                'model as one unit; pass auto_wrap_policy="transformer_based_wrap" and the names '
                "of the layer classes as transformer_cls_names_to_wrap",
                self._homes(value),
            )
        own = {self.facts.solver.classes[site].node.name for site in condition.classes}
        names = sorted(own | {short(name) for name in condition.libraries})
        self._write("auto_wrap_policy", '"transformer_based_wrap"')
        text = ", ".join(f'"{name}"' for name in names)
        self.arguments.put("transformer_cls_names_to_wrap", f"[{text}]")

    def _named_policy(self, name: object) -> None:
        word = str(name).upper()
        least = self.arguments.value("min_num_params")
        if word == "SIZE_BASED_WRAP" and constants(self.facts.value(least)) != [0]:
            raise _Manual(frameworks.SIZE_BASED)
        if word == "NO_WRAP" and self._flag("activation_checkpointing"):
            raise _Manual(frameworks.NO_WRAP_CHECKPOINTING)

    def _param_init_fn(self) -> None:
        if self.facts.value(self.arguments.value("param_init_fn")) - NONE:
            raise _Manual(
                "Accelerate's FSDP2 never calls param_init_fn; use cpu_ram_efficient_loading, or "
                "put the weights in place before prepare()"
            )
        self._drop("param_init_fn")

    # ------------------------------------------------------------------ state dicts
    def _state_dicts(self) -> None:
        for name in CONFIGS:
            if name in self.arguments:
                self._source(name)
                self._drop(name)
        if "state_dict_type" not in self.arguments:
            self.arguments.put("state_dict_type", '"FULL_STATE_DICT"')
            self.result.notes.append("the default of state_dict_type was FULL_STATE_DICT")
            return
        value = self.facts.value(self.arguments.value("state_dict_type"))
        kinds = {_state_dict_type(value, atom) for atom in value - NONE}
        if "LOCAL_STATE_DICT" in kinds:
            raise _Manual(frameworks.LOCAL_STATE_DICT)
        if symbols(value):
            if len(kinds) != 1 or None in kinds:
                raise _Manual(
                    "`state_dict_type` is known only at run time; pass its name as a string",
                    self._homes(value),
                )
            self._write("state_dict_type", f'"{kinds.pop()}"')

    # ------------------------------------------------------------------ what changes
    def _caveats(self) -> None:
        if self._flag("activation_checkpointing") is not False:
            self._unsafe(frameworks.RANDOM_STATE)
        if any(is_mixed(self.facts, taker) for taker in takers(self.use, self.facts)):
            self._lower_precision()

    def _unsynchronised(self) -> None:
        if self._flag("cpu_ram_efficient_loading") is not True:
            self._unsafe(frameworks.BROADCAST)

    def _lower_precision(self) -> None:
        self._unsafe(frameworks.BUFFERS)

    def _unsafe(self, note: str) -> None:
        if note not in self.result.notes:
            self.result.notes.append(note)
        self.result.safety = Safety.UNSAFE

    # ------------------------------------------------------------------ helpers
    def _flag(self, name: str) -> bool | None:
        """What a flag says: its default, False, if it isn't passed; None if only the run knows."""
        if name not in self.arguments:
            return False
        known = constants(self.facts.value(self.arguments.value(name)))
        return bool(known[0]) if known is not None and len(set(known)) == 1 else None

    def _source(self, name: str) -> ast.expr:
        """What is passed as `name`; what a variable was given, if nothing else reads it."""
        node = self.arguments.value(name)
        assert node is not None
        if isinstance(node, ast.Name):
            found = definition(self.module, node)
            if found is not None and self._names_fsdp1(self.facts.value(found.value)):
                if removable(self.facts.solver, self.module, found, {node}):
                    self.result.absorbed.append(found)
                    return found.value
        return node

    def _keep(self, name: str) -> None:
        value = self.facts.value(self.arguments.value(name))
        if self._names_fsdp1(value):
            raise _Manual(f"`{name}` takes something of FSDP1's", self._homes(value))

    def _write(self, name: str, text: str) -> None:
        self._forget(name)
        self.arguments.put(name, text)

    def _drop(self, name: str) -> None:
        self._forget(name)
        self.arguments.drop(name)

    def _forget(self, name: str) -> None:
        node = self.arguments.value(name)
        if node is not None:
            self.result.gone |= set(ast.walk(node))

    def _names_fsdp1(self, value: Value) -> bool:
        return any(
            (isinstance(a, Symbol) and is_fsdp1(a.name))
            or (isinstance(a, Result) and is_fsdp1(a.symbol))
            for a in value
        )

    def _homes(self, value: Value) -> list[Path]:
        """The files that make what a value can be, which must not change without this one."""
        modules = self.facts.solver.project.modules
        sites = [a.site.module for a in value if isinstance(a, Result)]
        return [modules[name].path for name in sites if name in modules]


def _state_dict_type(value: Value, atom: object) -> str | None:
    if isinstance(atom, Const):
        return frameworks.state_dict_type(atom.value)
    if isinstance(atom, Symbol):
        return frameworks.state_dict_type(short(atom.name))
    return None


# ---------------------------------------------------------------------- around it
def _accelerator(use: Use, facts: Facts) -> Arguments:
    """The call that takes the plugin, with the mesh of hybrid sharding.

    Raises:
        _Manual: there isn't just one such call.
    """
    found = list(takers(use, facts))
    if len(found) == 1:
        (taker,) = found
        certain = len(facts.value(taker.value("fsdp_plugin"))) == 1
        spread = any(item.name is None for item in taker.items)
        if certain and not spread and "parallelism_config" not in taker:
            taker.put_parts("parallelism_config", "ParallelismConfig()", *frameworks.HYBRID_SIZES)
            return taker
    raise _Manual(
        "hybrid sharding is a ParallelismConfig(dp_replicate_size=<nodes>, "
        "dp_shard_size=<devices per node>) of the Accelerator in Accelerate's FSDP2; pass one "
        "where the Accelerator is made, and reshard_after_forward here"
    )


def _prepared(facts: Facts) -> Iterator[Finding]:
    """Calls of `prepare` that Accelerate's FSDP2 refuses, or may refuse."""
    for module, call, certain in lonely_prepares(facts):
        message = (
            "Accelerate's FSDP2 prepares one model, together with its optimizer; give both to the "
            "same prepare()"
            if certain
            else "if this is the model or the optimizer: Accelerate's FSDP2 wants both in the same "
            "prepare()"
        )
        tier = Tier.MANUAL if certain else Tier.NOTE
        yield finding_at(RULE, module, call, message, tier=tier)


RULE = Rule(
    code="FSDP601",
    name="accelerate-plugin",
    summary="Accelerate's `FullyShardedDataParallelPlugin` becomes that of FSDP2",
    why=(
        "Accelerate picks FSDP1 unless `fsdp_version` says 2; then it refuses some of FSDP1's "
        "arguments, and leaves others out of account without a word: sharding strategies and wrap "
        "policies among them."
    ),
    fix_safety=(
        "Unsafe where the message says so: buffers keep their dtype under mixed precision, "
        "activations are checkpointed without the random state, and weights are not sent from "
        "rank 0 unless cpu_ram_efficient_loading asks for it.  Else safe."
    ),
    check=check,
    symbols=PLUGIN,
    survey=survey,
    replaces=absorbs,
    references=("https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2",),
    examples=(
        Example(
            before="""\
from accelerate import Accelerator, FullyShardedDataParallelPlugin

plugin = FullyShardedDataParallelPlugin(
    sharding_strategy="SHARD_GRAD_OP",
    backward_prefetch="BACKWARD_PRE",
    use_orig_params=True,
    state_dict_type="SHARDED_STATE_DICT",
)
accelerator = Accelerator(fsdp_plugin=plugin)
""",
            after="""\
from accelerate import Accelerator, FullyShardedDataParallelPlugin

plugin = FullyShardedDataParallelPlugin(
    fsdp_version=2,
    reshard_after_forward=False,
    state_dict_type="SHARDED_STATE_DICT",
)
accelerator = Accelerator(fsdp_plugin=plugin)
""",
        ),
    ),
)
