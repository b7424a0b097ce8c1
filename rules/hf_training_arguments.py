"""`TrainingArguments(fsdp="full_shard auto_wrap", ...)` becomes `fsdp=True` and an `fsdp_config`.

https://huggingface.co/docs/transformers/fsdp

Transformers 5 has its FSDP2 settings in `fsdp_config`, and drops FSDP1 and the words of `fsdp`.
What the rule won't do: settings that only the run knows, `no_shard`, size-based wrapping.  Hybrid
sharding becomes a `parallelism_config`.  A file that `fsdp_config` names is migrated as a file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fsdp_migrate.analysis.definitions import definition, removable
from fsdp_migrate.analysis.values import NONE, Cls, Const, Symbol, constants
from fsdp_migrate.findings.finding import Edit, Finding, Import, Safety, Tier
from fsdp_migrate.findings.text_arguments import Arguments
from fsdp_migrate.frameworks import settings as frameworks
from fsdp_migrate.frameworks.settings import sentences
from fsdp_migrate.rule.rule import Example, Facts, Rule, Use, finding_at
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module

CLASSES = ("TrainingArguments", "Seq2SeqTrainingArguments")
SUBCLASSES = (  # of TRL: each takes the arguments of TrainingArguments
    "BCOConfig", "CPOConfig", "DPOConfig", "GKDConfig", "GRPOConfig", "IterativeSFTConfig",
    "KTOConfig", "NashMDConfig", "ORPOConfig", "OnlineDPOConfig", "PPOConfig", "PRMConfig",
    "RLOOConfig", "RewardConfig", "SFTConfig", "XPOConfig",
)  # fmt: skip
SYMBOLS = (
    *(f"transformers.{name}" for name in CLASSES),
    "transformers.training_args.TrainingArguments",
    "transformers.training_args_seq2seq.Seq2SeqTrainingArguments",
    "sentence_transformers.SentenceTransformerTrainingArguments",
    "sentence_transformers.training_args.SentenceTransformerTrainingArguments",
    "setfit.TrainingArguments",
    *(f"trl.{name}" for name in SUBCLASSES),
)
OPTIONS = frozenset(name.lower() for name in frameworks.STRATEGIES) | {"offload", "auto_wrap"}


class _Manual(Exception):
    """Why a person has to decide."""


@dataclass
class _Plan:
    """What becomes of one call."""

    edits: list[Edit] = field(default_factory=list)
    imports: set[Import] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    safety: Safety = Safety.SAFE


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Move one call's settings to FSDP2's."""
    return _check(use.module, use.call, facts) if use.call is not None else ()


def survey(facts: Facts) -> Iterator[Finding]:
    """Calls of the project's own subclasses."""
    for module in facts.solver.project.modules.values():
        for node in ast.walk(module.tree) if module.rewrite else ():
            if isinstance(node, ast.Call) and any(k.arg == "fsdp" for k in node.keywords):
                if any(_is_subclass(atom, facts) for atom in facts.value(node.func)):
                    yield from _check(module, node, facts)


def _is_subclass(atom: object, facts: Facts) -> bool:
    return isinstance(atom, Cls) and bool(facts.solver.library_bases(atom.site) & set(SYMBOLS))


def _check(module: Module, call: ast.Call, facts: Facts) -> Iterator[Finding]:
    try:
        plan = _Planner(module, call, facts).plan()
    except _Manual as reason:
        yield finding_at(RULE, module, call, str(reason), tier=Tier.MANUAL)
        return
    if plan is not None:
        yield finding_at(
            RULE,
            module,
            call,
            sentences("FSDP2 of Transformers 5: fsdp=True and its fsdp_config", *plan.notes),
            tier=Tier.NATIVE,
            edits=plan.edits,
            imports=plan.imports,
            safety=plan.safety,
        )


class _Planner:
    """Goes through the settings of one call."""

    def __init__(self, module: Module, call: ast.Call, facts: Facts) -> None:
        self.module, self.call, self.facts = module, call, facts
        self.arguments = Arguments(module, call)
        self.options: list[str] = []
        self.condition: str | None = None  # on which FSDP is switched on
        self.result = _Plan()

    def plan(self) -> _Plan | None:
        """The plan, or None if the call has nothing to do with FSDP1.

        Raises:
            _Manual: a person has to decide.
        """
        given = self.arguments.value("fsdp")
        if given is None or not self._read(given):
            return None
        self._legacy()
        node = self.arguments.value("fsdp_config")
        value = self.facts.value(node) - NONE
        if node is None or not value:
            self._fresh()
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "any_wrap" in self.options:
                return None  # it is the file that has to say more
            self._file(node.value)
        else:
            config = self._display(node)
            if config is None:
                raise _Manual(
                    "`fsdp_config` is known only at run time; FSDP2 wants fsdp=True and in the "
                    f'config "version": 2{self._wanted()}'
                )
            inner = Arguments(self.module, config)
            if _flag(self.facts, inner.value(_key(inner, "xla"))):
                return None  # FSDP of PyTorch/XLA is something else
            if not self._config(inner):
                return None
        self.arguments.put("fsdp", self.condition or "True")
        if any(_may(self.facts, self.arguments.value(name)) for name in ("bf16", "fp16")):
            self._unsafe(frameworks.BUFFERS)
        self.result.edits.append(self.arguments.edit())
        return self.result

    # ------------------------------------------------------------------ fsdp=
    def _read(self, node: ast.expr) -> bool:
        """Read the words of `fsdp`; False if it switches nothing on."""
        if isinstance(node, ast.IfExp):
            on, off = self._words(node.body), self._words(node.orelse)
            if on and off == []:
                test = self.module.text(node.test)
                boolean = isinstance(node.test, ast.Compare) or (
                    isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
                )
                self.options, self.condition = on, test if boolean else f"bool({test})"
                return True
        words = self._words(node)
        if words is None:
            raise _Manual(
                "`fsdp` is known only at run time; FSDP2 wants fsdp=True and an fsdp_config with "
                '"version": 2, "reshard_after_forward": True for full_shard or False for '
                "shard_grad_op, and a parallelism_config for hybrid sharding"
            )
        self.options = words
        return bool(words)

    def _words(self, node: ast.expr) -> list[str] | None:
        """The options in `node`, none if it is off; None if only the run knows them."""
        value = self.facts.value(node)
        if isinstance(node, ast.List | ast.Tuple):
            parts = [self._words(item) for item in node.elts]
            return None if None in parts else [w for part in parts if part for w in part]
        known = constants(value)
        if known is None:
            names = [short(a.name).lower() for a in value if isinstance(a, Symbol)]
            return names if len(names) == len(value) == 1 and names[0] in OPTIONS else None
        if len(known) != 1:
            return None
        if known[0] is True:
            return ["full_shard", "any_wrap"]
        if not known[0]:
            return []
        words = str(known[0]).lower().split()
        return words if set(words) <= OPTIONS else None

    def _member(self) -> str:
        found = [s for w in self.options if (s := frameworks.strategy(w)) is not None]
        if "NO_SHARD" in found:
            raise _Manual(
                "no_shard is plain data parallelism, which FSDP2 of Transformers has not; leave "
                "`fsdp` out, and the Trainer uses DistributedDataParallel"
            )
        return found[0] if found else "FULL_SHARD"

    def _wanted(self) -> str:
        """What a configuration has to say of the words of `fsdp`, for a message."""
        parts = [f', "reshard_after_forward": {frameworks.RESHARD[self._member()]}']
        if "offload" in self.options:
            parts.append(', "cpu_offload": True')
        if not {"auto_wrap", "any_wrap"} & set(self.options):
            parts.append(', "auto_wrap_policy": "NO_WRAP"')
        return "".join(parts)

    # ------------------------------------------------------------------ fsdp_config=
    def _legacy(self) -> None:
        """The old arguments beside `fsdp`."""
        size = self.arguments.value("fsdp_min_num_params")
        if size is not None:
            if constants(self.facts.value(size)) != [0]:
                raise _Manual(frameworks.SIZE_BASED)
            self.arguments.drop("fsdp_min_num_params")

    def _layers(self) -> str | None:
        node = self.arguments.value("fsdp_transformer_layer_cls_to_wrap")
        if node is None:
            return None
        self.arguments.drop("fsdp_transformer_layer_cls_to_wrap")
        if self.facts.value(node) <= NONE:
            return None
        return f"[{self.module.text(node)}]"

    def _fresh(self) -> None:
        member = self._member()
        items = ['"version": 2', f'"reshard_after_forward": {frameworks.RESHARD[member]}']
        layers = self._layers()
        if layers is not None:
            items.append(f'"transformer_layer_cls_to_wrap": {layers}')
        if "offload" in self.options:
            items.append('"cpu_offload": True')
        if not {"auto_wrap", "any_wrap"} & set(self.options):
            items.append('"auto_wrap_policy": "NO_WRAP"')
        self.arguments.put_parts("fsdp_config", "{}", *items)
        self._hybrid(member)
        self._unsynchronised(None)

    def _file(self, path: str) -> None:
        """A JSON file: it is migrated as such, and must not need what stands here."""
        member = self._member()
        if member != "FULL_SHARD" or "offload" in self.options or self._layers() is not None:
            raise _Manual(
                f"`fsdp_config` is the file {path}; say there what the words of `fsdp` say here"
                f"{self._wanted().replace('True', 'true').replace('False', 'false')}, "
                "and pass fsdp=True"
            )
        if not {"auto_wrap", "any_wrap"} & set(self.options):
            raise _Manual(
                f'without auto_wrap the model was one unit; say "auto_wrap_policy": "NO_WRAP" in '
                f"{path} (or let it wrap the layers), and pass fsdp=True"
            )
        self.result.notes.append(f"{path} needs `version: 2`: migrate it together with this")

    def _display(self, node: ast.expr) -> ast.Dict | None:
        """The dict display that `node` is or names, if nothing else reads or changes it."""
        if isinstance(node, ast.Name):
            found = definition(self.module, node)
            if found is not None and isinstance(found.value, ast.Dict):
                if removable(self.facts.solver, self.module, found, {node}):
                    return found.value
            return None
        return node if isinstance(node, ast.Dict) and all(node.keys) else None

    def _config(self, inner: Arguments) -> bool:
        """Change the dict; False if it is FSDP2's already."""
        version = inner.value(_key(inner, "version"))
        if version is not None:
            known = constants(self.facts.value(version))
            if known is None:
                raise _Manual("the version in `fsdp_config` is known only at run time")
            if known[0] in (2, "2"):
                return False
        self._check_size(inner)
        member = self._strategy(inner)
        reshard = _key(inner, "reshard_after_forward")
        for name in sorted({*frameworks.GONE, "sharding_strategy", "offload_params"}):
            self._leave_out(inner, name, member)
        inner.put(_key(inner, "version"), "2", first=True)
        inner.put(reshard, str(frameworks.RESHARD[member]))
        layers = self._layers()
        if layers is not None:
            inner.put(_key(inner, "transformer_layer_cls_to_wrap"), layers)
        if "offload" in self.options:
            inner.put(_key(inner, "cpu_offload"), "True")
        self._policy(inner)
        if _may(self.facts, inner.value(_key(inner, "activation_checkpointing"))):
            self._unsafe(frameworks.RANDOM_STATE)
        self.result.edits.append(inner.edit())
        self._hybrid(member)
        self._unsynchronised(inner)
        return True

    def _strategy(self, inner: Arguments) -> str:
        node = inner.value(_key(inner, "reshard_after_forward"))
        if node is None:
            return self._member()
        members = {_strategy_of(a) for a in self.facts.value(node)}
        if len(members) != 1 or None in members:
            raise _Manual("the strategy in `fsdp_config` is known only at run time")
        self.options = [w for w in self.options if frameworks.strategy(w) is None]
        self.options.append(str(members.pop()).lower())
        return self._member()

    def _check_size(self, inner: Arguments) -> None:
        size = inner.value(_key(inner, "min_num_params"))
        known = constants(self.facts.value(size)) if size is not None else [0]
        if known != [0] and "auto_wrap" in self.options:
            raise _Manual(frameworks.SIZE_BASED)

    def _leave_out(self, inner: Arguments, name: str, member: str) -> None:
        key = _key(inner, name)
        node = inner.value(key)
        if node is None:
            return
        known = constants(self.facts.value(node))
        if name == "sharding_strategy" and known != [None]:
            said = frameworks.strategy(known[0]) if known is not None else None
            if said != member:
                self.result.notes.append(
                    f"the {key} in fsdp_config was never read, {member} of `fsdp` was"
                )
        if name == "offload_params" and known != [False] and "offload" not in self.options:
            self.result.notes.append(f'{key} was never read; "cpu_offload": True is what offloads')
        inner.drop(key)

    def _policy(self, inner: Arguments) -> None:
        """The wrap policy: it was said by `auto_wrap`, and is said by the config now."""
        key = _key(inner, "auto_wrap_policy")
        if "any_wrap" in self.options:
            return
        if "auto_wrap" not in self.options:
            inner.put(key, '"NO_WRAP"')
        elif key in inner:
            inner.put(key, '"TRANSFORMER_BASED_WRAP"')

    def _hybrid(self, member: str) -> None:
        if member not in frameworks.HYBRID:
            return
        if "parallelism_config" in self.arguments:
            raise _Manual(
                "hybrid sharding goes into `parallelism_config`, which is there already: give it "
                "dp_replicate_size=<nodes> and dp_shard_size=<devices per node>"
            )
        self.arguments.put_parts(
            "parallelism_config", "ParallelismConfig()", *frameworks.HYBRID_SIZES
        )
        self.result.imports |= set(frameworks.HYBRID_IMPORTS)
        self.result.notes.append("hybrid sharding becomes a parallelism_config")

    def _unsynchronised(self, inner: Arguments | None) -> None:
        if inner is not None:
            if _flag(self.facts, inner.value(_key(inner, "cpu_ram_efficient_loading"))):
                return
        self._unsafe(frameworks.BROADCAST)

    def _unsafe(self, note: str) -> None:
        self.result.notes.append(note)
        self.result.safety = Safety.UNSAFE


def _strategy_of(atom: object) -> str | None:
    if isinstance(atom, Const):
        if isinstance(atom.value, bool):
            return "FULL_SHARD" if atom.value else "SHARD_GRAD_OP"
        return frameworks.strategy(atom.value)
    return frameworks.strategy(short(atom.name)) if isinstance(atom, Symbol) else None


def _key(inner: Arguments, name: str) -> str:
    """How the dict calls a setting: with the prefix or without."""
    prefixed = f"fsdp_{name}"
    if name in inner or prefixed in inner:
        return name if name in inner else prefixed
    names = [item.name for item in inner.items if item.name]
    return prefixed if names and all(n.startswith("fsdp_") for n in names) else name


def _may(facts: Facts, node: ast.expr | None) -> bool:
    """Whether a flag is passed and not plainly off."""
    known = constants(facts.value(node)) if node is not None else [False]
    return known is None or any(frameworks.truth(value) is not False for value in known)


def _flag(facts: Facts, node: ast.expr | None) -> bool:
    known = constants(facts.value(node)) if node is not None else None
    return known is not None and frameworks.truth(known[0]) is True


RULE = Rule(
    code="FSDP603",
    name="hf-training-arguments",
    summary="`TrainingArguments(fsdp=...)` becomes FSDP2's `fsdp=True` with an `fsdp_config`",
    why=(
        "Transformers 5 makes FSDP2 the default and drops FSDP1 together with the words of `fsdp`; "
        "what they said has to stand in `fsdp_config`."
    ),
    fix_safety=(
        "Unsafe where the message says so: FSDP1's sync_module_states was on by default and sent "
        "rank 0's weights to the others, and it cast buffers under mixed precision.  Else safe."
    ),
    check=check,
    symbols=SYMBOLS,
    survey=survey,
    references=("https://huggingface.co/docs/transformers/fsdp",),
    examples=(
        Example(
            before="""\
from transformers import TrainingArguments

args = TrainingArguments(
    output_dir="out",
    fsdp="shard_grad_op auto_wrap",
    fsdp_config={"transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"], "use_orig_params": True},
)
""",
            after="""\
from transformers import TrainingArguments

args = TrainingArguments(
    output_dir="out",
    fsdp=True,
    fsdp_config={
        "version": 2,
        "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
        "reshard_after_forward": False,
    },
)
""",
        ),
    ),
)
