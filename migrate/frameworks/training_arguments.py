"""`fsdp` and `fsdp_config` of Transformers' `TrainingArguments`, from FSDP1's to FSDP2's.

https://huggingface.co/docs/transformers/fsdp
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.code import Item, Kept, Literal, Part, code, dictionary
from fsdp_migrate.frameworks import settings
from fsdp_migrate.frameworks.conversion import ByHand, Conversion

PREFIX = "fsdp_"  # that the keys of `fsdp_config` may have


def key_of(config: Arguments, name: str) -> str:
    """How a dict calls a setting: with the prefix or without."""
    if name in config or f"{PREFIX}{name}" in config:
        return name if name in config else f"{PREFIX}{name}"
    prefixed = all(known.startswith(PREFIX) for known in config.names)
    return f"{PREFIX}{name}" if config.names and prefixed else name


@dataclass
class Words:
    """What `fsdp` says, and the condition on which it says so."""

    options: list[str] = field(default_factory=list)
    condition: Part | None = None

    @property
    def strategy(self) -> str:
        """The sharding strategy.

        Raises:
            ByHand: it is none of FSDP2's.
        """
        found = [s for word in self.options if (s := settings.strategy(word)) is not None]
        if "NO_SHARD" in found:
            raise ByHand(
                "FSDP2 of Transformers has no no_shard, which is plain data parallelism; leave "
                "`fsdp` out, and the Trainer uses DistributedDataParallel"
            )
        return found[0] if found else "FULL_SHARD"

    def set_strategy(self, member: str) -> None:
        """Have another one instead."""
        self.options = [word for word in self.options if settings.strategy(word) is None]
        self.options.append(member.lower())

    @property
    def offloads(self) -> bool:
        """Whether parameters are offloaded."""
        return "offload" in self.options

    @property
    def wraps(self) -> bool:
        """Whether the layers become units."""
        return bool({"auto_wrap", "any_wrap"} & set(self.options))

    def wanted(self, true: str = "True", false: str = "False") -> str:
        """What a configuration has to say of them, for a message."""
        parts = [f', "reshard_after_forward": {true if self._reshards else false}']
        if self.offloads:
            parts.append(f', "cpu_offload": {true}')
        if not self.wraps:
            parts.append(', "auto_wrap_policy": "NO_WRAP"')
        return "".join(parts)

    @property
    def _reshards(self) -> bool:
        return settings.RESHARD[self.strategy]


def convert(plan: Conversion) -> bool:
    """Move the settings of one call to FSDP2's; False if it has nothing to do with FSDP1.

    Raises:
        ByHand: a person has to decide.
    """
    given = plan.arguments.value("fsdp")
    words = _words(plan, given) if given is not None else None
    if words is None or not words.options:
        return False
    _drop_legacy_size(plan)
    node = plan.arguments.value("fsdp_config")
    if node is None or not plan.values.is_given(node):
        _add_config(plan, words)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        if "any_wrap" in words.options:
            return False  # it is the file that has to say more
        _check_file(plan, words, node.value)
    elif not _change_config(plan, words, node):
        return False
    plan.arguments.put("fsdp", words.condition or Literal(True))
    flags = [plan.arguments.value(name) for name in ("bf16", "fp16")]
    if any(_may(plan, node) for node in flags):
        plan.unsafe(settings.BUFFERS)
    return True


# ---------------------------------------------------------------------- fsdp=
def _words(plan: Conversion, node: ast.expr) -> Words:
    if isinstance(node, ast.IfExp):
        on, off = plan.values.words(node.body), plan.values.words(node.orelse)
        if on and off == []:
            test = Kept(plan.module.span(node.test))
            return Words(on, test if _is_boolean(node.test) else code("bool({test})", test=test))
    words = plan.values.words(node)
    if words is None:
        raise ByHand(
            "`fsdp` is known only at run time; FSDP2 wants fsdp=True and an fsdp_config with "
            '"version": 2, "reshard_after_forward": True for full_shard or False for '
            "shard_grad_op, and a parallelism_config for hybrid sharding"
        )
    return Words(words)


def _is_boolean(node: ast.expr) -> bool:
    negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return negation or isinstance(node, ast.Compare)


def _drop_legacy_size(plan: Conversion) -> None:
    """An old argument beside `fsdp`."""
    size = plan.arguments.value("fsdp_min_num_params")
    if size is not None:
        if plan.values.literals(size) != [0]:
            raise ByHand(settings.SIZE_BASED)
        plan.arguments.drop("fsdp_min_num_params")


def _layers(plan: Conversion) -> Part | None:
    """What another old argument says, which goes into the configuration."""
    node = plan.arguments.value("fsdp_transformer_layer_cls_to_wrap")
    if node is None:
        return None
    plan.arguments.drop("fsdp_transformer_layer_cls_to_wrap")
    if not plan.values.is_given(node):
        return None
    return code("[{layer}]", layer=plan.kept(node))


# ---------------------------------------------------------------------- fsdp_config=
def _add_config(plan: Conversion, words: Words) -> None:
    reshards = settings.RESHARD[words.strategy]
    items: list[tuple[str, Part]] = [
        ("version", Literal(2)),
        ("reshard_after_forward", Literal(reshards)),
    ]
    layers = _layers(plan)
    if layers is not None:
        items.append(("transformer_layer_cls_to_wrap", layers))
    if words.offloads:
        items.append(("cpu_offload", Literal(True)))
    if not words.wraps:
        items.append(("auto_wrap_policy", Literal("NO_WRAP")))
    config = dictionary(*(Item(Literal(name), value) for name, value in items))
    plan.arguments.put("fsdp_config", config)
    _hybrid(plan, words)
    plan.unsafe(settings.BROADCAST)


def _check_file(plan: Conversion, words: Words, path: str) -> None:
    """A JSON file: it is migrated as such, and must not need what stands here."""
    if words.strategy != "FULL_SHARD" or words.offloads or _layers(plan) is not None:
        raise ByHand(
            f"`fsdp_config` is the file {path}; say there what the words of `fsdp` say here"
            f"{words.wanted('true', 'false')}, and pass fsdp=True"
        )
    if not words.wraps:
        raise ByHand(
            f'without auto_wrap the model was one unit; say "auto_wrap_policy": "NO_WRAP" in '
            f"{path} (or let it wrap the layers), and pass fsdp=True"
        )
    plan.note(f"{path} needs `version: 2`: migrate it together with this")


def _change_config(plan: Conversion, words: Words, node: ast.expr) -> bool:
    """Change a dict; False if it is not FSDP1's."""
    found = plan.values.definition(node)
    display = found.value if found is not None else node
    if not isinstance(display, ast.Dict) or not all(display.keys):
        raise ByHand(
            "`fsdp_config` is known only at run time; FSDP2 wants fsdp=True and in the "
            f'config "version": 2{words.wanted()}'
        )
    config = bind(plan.module, display)
    if _says(plan, config, "xla") is True or _is_fsdp2(plan, config):
        return False  # FSDP of PyTorch/XLA is something else
    for name in config.names:
        if name.removeprefix(PREFIX) not in settings.CONFIG_KEYS:
            plan.remark(
                config.value(name), f"`{name}` is no setting of fsdp_config that is known here"
            )
    _check_size(plan, words, config)
    member = _strategy(plan, words, config)
    for name in sorted({*settings.DROPPED_SETTINGS, "sharding_strategy", "offload_params"}):
        _leave_out(plan, words, config, name)
    reshard = key_of(config, "reshard_after_forward")
    config.put(key_of(config, "version"), Literal(2), first=True)
    config.put(reshard, Literal(settings.RESHARD[member]))
    layers = _layers(plan)
    if layers is not None:
        config.put(key_of(config, "transformer_layer_cls_to_wrap"), layers)
    if words.offloads:
        config.put(key_of(config, "cpu_offload"), Literal(True))
    _policy(words, config)
    if _may(plan, config.value(key_of(config, "activation_checkpointing"))):
        plan.unsafe(settings.RANDOM_STATE)
    plan.inner.append(config)
    _hybrid(plan, words)
    if _says(plan, config, "cpu_ram_efficient_loading") is not True:
        plan.unsafe(settings.BROADCAST)
    return True


def _is_fsdp2(plan: Conversion, config: Arguments) -> bool:
    version = config.value(key_of(config, "version"))
    if version is None:
        return False
    known = plan.values.literals(version)
    if known is None:
        raise ByHand("the version in `fsdp_config` is known only at run time")
    return known[0] in (2, "2")


def _strategy(plan: Conversion, words: Words, config: Arguments) -> str:
    node = config.value(key_of(config, "reshard_after_forward"))
    if node is not None:
        member = plan.values.resharding(node)
        if member is None:
            raise ByHand("the strategy in `fsdp_config` is known only at run time")
        words.set_strategy(member)
    return words.strategy


def _check_size(plan: Conversion, words: Words, config: Arguments) -> None:
    size = config.value(key_of(config, "min_num_params"))
    known = plan.values.literals(size) if size is not None else [0]
    if known != [0] and "auto_wrap" in words.options:
        raise ByHand(settings.SIZE_BASED)


def _leave_out(plan: Conversion, words: Words, config: Arguments, name: str) -> None:
    key = key_of(config, name)
    node = config.value(key)
    if node is None:
        return
    known = plan.values.literals(node)
    if name == "sharding_strategy" and known != [None]:
        said = settings.strategy(known[0]) if known is not None else None
        if said != words.strategy:
            plan.note(f"the {key} in fsdp_config was never read, {words.strategy} of `fsdp` was")
    if name == "offload_params" and known != [False] and not words.offloads:
        plan.note(f'{key} was never read; "cpu_offload": True is what offloads')
    config.drop(key)


def _policy(words: Words, config: Arguments) -> None:
    """The wrap policy: it was said by `auto_wrap`, and is said by the config now."""
    key = key_of(config, "auto_wrap_policy")
    if "any_wrap" in words.options:
        return
    if "auto_wrap" not in words.options:
        config.put(key, Literal("NO_WRAP"))
    elif key in config:
        config.put(key, Literal("TRANSFORMER_BASED_WRAP"))


def _hybrid(plan: Conversion, words: Words) -> None:
    if words.strategy not in settings.HYBRID:
        return
    if "parallelism_config" in plan.arguments:
        raise ByHand(
            "hybrid sharding goes into `parallelism_config`, which is there already: give it "
            "dp_replicate_size=<nodes> and dp_shard_size=<devices per node>"
        )
    plan.arguments.put("parallelism_config", settings.PARALLELISM)
    plan.note("hybrid sharding becomes a parallelism_config")


def _says(plan: Conversion, config: Arguments, name: str) -> bool | None:
    return plan.values.flag(config.value(key_of(config, name)))


def _may(plan: Conversion, node: ast.expr | None) -> bool:
    """Whether a flag is passed and not plainly off."""
    known = plan.values.literals(node) if node is not None else [False]
    return known is None or any(settings.truth(value) is not False for value in known)
