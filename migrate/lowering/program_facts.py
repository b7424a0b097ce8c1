"""What a program does that decides about the form of a wrap: found in its calls, never in words.

A program is the files that imports connect.  Comments, docstrings and strings that nothing is
called with say nothing; what can't be followed counts as if it were there, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import (
    Const,
    Instance,
    Method,
    Result,
    Symbol,
    Unknown,
    Value,
    symbols,
)
from fsdp_migrate.lowering.meta_contexts import makes_others
from fsdp_migrate.lowering.model_parts import ModelParts, parts_of_model
from fsdp_migrate.lowering.parameter_attributes import ParameterAttributes
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

# What makes a process work on a device of its own.
DEVICE_SETTERS = frozenset(
    {
        "accelerate.Accelerator",
        "accelerate.PartialState",
        "accelerate.accelerator.Accelerator",
        "accelerate.state.AcceleratorState",
        "accelerate.state.PartialState",
        "torch.accelerator.set_device_idx",
        "torch.accelerator.set_device_index",
        "torch.cuda.device",
        "torch.cuda.set_device",
        "transformers.Trainer",
        "transformers.TrainingArguments",
    }
)
LIGHTNING = ("lightning.", "lightning_fabric.", "pytorch_lightning.")
VISIBLE = "CUDA_VISIBLE_DEVICES"
# Functions and methods that are told a device without naming the parameter.
TAKE_DEVICE = frozenset(
    {
        "accelerate.big_modeling.init_on_device",
        "accelerate.init_on_device",
        "torch.device",
        "torch.set_default_device",
    }
)
DEVICE_KEYWORDS = frozenset({"device", "device_map", "init_device"})
MAKE_META = frozenset(
    {
        "accelerate.big_modeling.init_empty_weights",
        "accelerate.init_empty_weights",
        "accelerate.utils.init_empty_weights",
        "torchdistx.deferred_init.deferred_init",
        "transformers.modeling_utils.no_init_weights",
    }
)
BATCH_NORM = frozenset(
    {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "_BatchNorm", "_NormBase"}
    | {f"LazyBatchNorm{n}d" for n in (1, 2, 3)}
)
HAVE_BUFFERS = BATCH_NORM | {f"{lazy}InstanceNorm{n}d" for lazy in ("", "Lazy") for n in (1, 2, 3)}
SPECTRAL_NORM = frozenset(
    {"torch.nn.utils.parametrizations.spectral_norm", "torch.nn.utils.spectral_norm"}
)
BUFFERS = frozenset({"torch.nn.Buffer", "torch.nn.parameter.Buffer"})
VISION = ("timm.", "torch.hub.", "torchvision.models.", "torchvision.ops.")
# Models of transformers that have none: how their classes begin.
TEXT_MODELS = (
    "AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForQuestionAnswering",
    "AutoModelForSeq2SeqLM", "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification", "Bart", "Bert", "Bloom", "Deberta", "DistilBert", "Falcon",
    "GPT2", "GPTBigCode", "GPTJ", "GPTNeo", "Gemma", "Llama", "Mistral", "Mixtral", "OPT", "Phi",
    "Qwen2", "Roberta", "T5",
)  # fmt: skip
# The same in other libraries, as families are called everywhere.
LANGUAGE_MODELS = ("gemma", "gpt", "llama", "mamba", "mistral", "mixtral", "qwen")
KEEPS_PRECISION = "BatchNorm layers keep full precision under a wrap policy"


@dataclass(frozen=True, eq=False)
class ProgramFacts:
    """The facts of one program."""

    analysis: Analysis
    modules: tuple[Module, ...]

    @classmethod
    def of(cls, analysis: Analysis, module: Module) -> ProgramFacts:
        """The facts of the program that `module` belongs to."""
        project = analysis.project
        names = sorted(project.program_of(module.name))
        return cls(analysis, tuple(project.modules[name] for name in names))

    @cached_property
    def parameter_attributes(self) -> ParameterAttributes:
        """What the program sets on parameters."""
        return ParameterAttributes(self.analysis, self.modules)

    def _nodes(self) -> Iterator[ast.AST]:
        for module in self.modules:
            yield from nodes_in(module.tree)

    @cached_property
    def _calls(self) -> tuple[ast.Call, ...]:
        return tuple(node for node in self._nodes() if isinstance(node, ast.Call))

    @cached_property
    def _called(self) -> frozenset[str]:
        """The names of libraries that are called."""
        return frozenset(
            name for call in self._calls for name in symbols(self.analysis.value(call.func))
        )

    def calls(self, name: str) -> bool:
        """Whether something of a library is called."""
        return name in self._called

    def uses(self, *framework: str) -> bool:
        """Whether something of a framework is called, or derived from; names end with a dot."""
        bases = (
            name
            for site in self.analysis.classes
            if any(module.name == site.module for module in self.modules)
            for name in self.analysis.library_bases(site)
        )
        return any(name.startswith(framework) for name in (*self._called, *bases))

    # ------------------------------------------------------------------ devices
    @cached_property
    def sets_cuda_device(self) -> bool:
        """Whether the program makes a device the current one, itself or by a framework."""
        if self._called & DEVICE_SETTERS or self.uses(*LIGHTNING):
            return True
        return any(self._hides_devices(node) for node in self._nodes())

    def _hides_devices(self, node: ast.AST) -> bool:
        """Whether `node` leaves the process but some of the devices."""
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            named = isinstance(node.slice, ast.Constant) and node.slice.value == VISIBLE
            return named and symbols(self.analysis.value(node.value)) == {"os.environ"}
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            environ = symbols(self.analysis.value(owner)) == {"os.environ"}
            putenv = symbols(self.analysis.value(node.func)) == {"os.putenv"}
            return node.args[0].value == VISIBLE and len(node.args) > 1 and (environ or putenv)
        return False

    def may_be_meta(self, model: Value, is_asked: bool = False) -> bool:
        """Whether some of `model` may be on the meta device when it is wrapped.

        What isn't followed may be there where the program looks for it, or takes it from there,
        or the wrap does so itself (`is_asked`).
        """
        if self._called & MAKE_META:
            return True
        if not all(makes_others(self.analysis, *made, self._parts(model)) for made in self._meta):
            return True
        return (is_asked or self._handles_meta) and bool(self._parts(model).unfollowed)

    @cached_property
    def _meta(self) -> tuple[tuple[Module, ast.AST], ...]:
        """Where something is put on the meta device."""
        each = ((module, node) for module in self.modules for node in nodes_in(module.tree))
        return tuple((module, node) for module, node in each if self._is_made_meta(node))

    @cached_property
    def _handles_meta(self) -> bool:
        """Whether modules are asked for the meta device, or given their memory."""
        return any(map(self._asks_for_meta, self._nodes()))

    def _is_made_meta(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Dict):
            return any(
                isinstance(key, ast.Constant)
                and key.value in DEVICE_KEYWORDS
                and self._names_meta(value)
                for key, value in zip(node.keys, node.values, strict=True)
            )
        if not isinstance(node, ast.Call):
            return False
        if any(k.arg in DEVICE_KEYWORDS and self._names_meta(k.value) for k in node.keywords):
            return True
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        takes = symbols(self.analysis.value(node.func)) & TAKE_DEVICE or method == "to"
        return bool(takes) and any(self._names_meta(argument) for argument in node.args)

    def _asks_for_meta(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr in ("is_meta", "to_empty")
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return any(self._names_meta(side) for side in sides) and any(
                isinstance(side, ast.Attribute) and side.attr in ("type", "device")
                for side in sides
            )
        return isinstance(node, ast.keyword) and (
            node.arg == "map_location" and self._names_meta(node.value)
        )

    def _names_meta(self, node: ast.expr) -> bool:
        return Const.of("meta") in self.analysis.value(node)

    # ------------------------------------------------------------------ models
    def _parts(self, model: Value) -> ModelParts:
        return parts_of_model(self.analysis, model)

    def may_hold_batch_norm(self, model: Value) -> str:
        """Why BatchNorm layers may be among the modules of `model`; "" if none are.

        A model that isn't followed at all may have them where the program makes any.
        """
        parts = self._parts(model)
        if any(short(_name(thing)) in BATCH_NORM for thing in parts.libraries):
            return KEEPS_PRECISION
        foreign = [name for name in sorted(parts.foreign) if not _is_text_model(name)]
        if foreign:
            return f"{KEEPS_PRECISION}, and `{foreign[0]}` may have some"
        if parts.unknown and self._makes_batch_norm:
            return f"{KEEPS_PRECISION}, and there may be some: {parts.unknown}"
        return ""

    @cached_property
    def _makes_batch_norm(self) -> bool:
        """Whether a BatchNorm layer, or a model that may have some, is made anywhere."""
        made = any(short(n) in BATCH_NORM and n.startswith("torch.nn.") for n in self._called)
        return made or any(name.startswith(VISION) for name in self._called)

    def may_hold_buffers(self, model: Value) -> bool:
        """Whether the modules of `model` may have buffers."""
        parts = self._parts(model)
        return (
            bool(parts.unfollowed)
            or bool(self._called & SPECTRAL_NORM)
            or any(short(_name(thing)) in HAVE_BUFFERS for thing in parts.libraries)
            or any(True for _ in self._registered(parts))
        )

    def has_unsaved_buffers(self, model: Value) -> bool:
        """Whether the modules of `model` may have buffers that are in no state dict."""
        parts = self._parts(model)
        return bool(parts.unfollowed) or any(
            len(call.args) > 2 or any(k.arg in ("persistent", None) for k in call.keywords)
            for call in self._registered(parts)
        )

    def has_saved_buffers(self, model: Value) -> bool:
        """Whether a module that is seen has buffers that are in its state dict."""
        parts = self._parts(model)
        return any(short(_name(thing)) in HAVE_BUFFERS for thing in parts.libraries) or any(
            not any(_is_false(node) for node in call.args[2:3])
            and not any(k.arg == "persistent" and _is_false(k.value) for k in call.keywords)
            for call in self._registered(parts)
        )

    def _registered(self, parts: ModelParts) -> Iterator[ast.Call]:
        """The calls that may give one of the modules a buffer."""
        for call in self._calls:
            called = self.analysis.value(call.func)
            owners = self._registering(call.func, called)
            if symbols(called) & BUFFERS or any(self._is_part(owner, parts) for owner in owners):
                yield call

    def _registering(self, func: ast.expr, called: Value) -> Iterator[Value]:
        """What `register_buffer` is called on, if `func` is that method."""
        if isinstance(func, ast.Attribute) and func.attr == "register_buffer":
            yield self.analysis.value(func.value)
        for atom in called:
            if isinstance(atom, Method) and atom.name == "register_buffer":
                yield frozenset({atom.receiver})

    def _is_part(self, owner: Value, parts: ModelParts) -> bool:
        """Whether `owner` may be one of the modules."""
        return not owner or any(
            isinstance(atom, Unknown | Method)
            or (isinstance(atom, Result) and atom in parts.libraries)
            or (
                isinstance(atom, Instance)
                and not parts.classes.isdisjoint(
                    {*self.analysis.lineage(atom.cls), *self.analysis.descendants(atom.cls)}
                )
            )
            for atom in owner
        )


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _name(thing: Result | Symbol) -> str:
    return thing.symbol if isinstance(thing, Result) else thing.name


def _is_text_model(name: str) -> bool:
    """Whether a library's name is that of a language model, or of a way to make one."""
    library, *rest = name.split(".")
    if library == "transformers":
        return any(part.startswith(TEXT_MODELS) for part in rest)
    return rest != [] and rest[-1].lower().startswith(LANGUAGE_MODELS)
