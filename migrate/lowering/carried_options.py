"""State-dict modes that only the run knows, and a value of the program's own says.

    with FSDP.state_dict_type(model, kind, *SETTINGS[kind]):

becomes `options=SETTINGS[kind]` of the calls inside, once the configurations in the table are
`StateDictOptions`.  Without configurations the type alone says it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import NONE, Atom, Const, Container, Result, Symbol, Value
from fsdp_migrate.findings.code import (
    Code,
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    attribute,
    call,
    code,
)
from fsdp_migrate.lowering.state_dict_settings import (
    CONFIGS,
    FLAGS,
    KINDS,
    LOCAL,
    TYPE,
    Setting,
    given_to_mode,
)
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds_names

OPTIONS = Name("torch.distributed.checkpoint.state_dict", "StateDictOptions")
FULL, ON_CPU, FROM_FIRST = "full_state_dict", "cpu_offload", "broadcast_from_rank0"


@dataclass(frozen=True)
class Config:
    """A configuration where it is made."""

    module: Module
    call: ast.Call
    kind: str  # "FULL" or "SHARDED"
    offload: ast.expr | None
    rank0: ast.expr | None

    @property
    def is_on_first(self) -> bool | None:
        """Whether state dicts are on the CPU of the first rank, or as they are; None: neither."""
        one, two = _literal(self.offload), _literal(self.rank0)
        if self.kind != "FULL":
            return True
        if self.offload is not None and self.rank0 is not None and same(self.offload, self.rank0):
            return True
        return True if one is not None and one == two else None

    @property
    def options(self) -> Code:
        """The options that say the same."""
        flags = [Keyword(FULL, Literal(True))] if self.kind == "FULL" else []
        known = _literal(self.offload)
        if known is None and self.offload is not None:
            flags.append(Keyword(ON_CPU, Kept(self.module.span(self.offload))))
        elif known:
            flags.append(Keyword(ON_CPU, Literal(True)))
        return call(OPTIONS, *flags)


@dataclass(frozen=True)
class Carried:
    """The options of a mode, as an expression of the program's own."""

    module: Module
    node: ast.expr  # a configuration, a pair of them, or the type
    configs: tuple[Config, ...] = ()  # that the node can be; none where it is the type
    pairs: tuple[tuple[Module, ast.Tuple], ...] = ()  # that the node can be
    for_optim: bool = False  # the optimizer's configuration is given, and says the same

    @property
    def may_be_default(self) -> bool:
        """Whether an optimizer's state may be a full one by FSDP1's default: on every CPU."""
        full = self.by_type or any(config.kind == "FULL" for config in self.configs)
        return full and not self.for_optim

    @property
    def by_type(self) -> bool:
        """Whether the type alone says it."""
        return not self.configs

    @property
    def is_literal(self) -> bool:
        """Whether the configuration is made where it is given."""
        return any(config.call is self.node for config in self.configs)

    @property
    def only_first(self) -> bool:
        """Whether the first rank alone has to read what is saved."""
        return any(config.is_on_first is None for config in self.configs)

    def setting(self, kind: str | None) -> Setting | None:
        """What the configurations of one kind say, if they all say the same and write it out."""
        found = {
            (_literal(config.offload), _literal(config.rank0))
            for config in self.configs
            if config.kind == kind
        }
        offload, rank0 = found.pop() if len(found) == 1 else (None, None)
        if kind is None or offload is None or rank0 is None:
            return None
        return Setting(kind, offload, rank0, offload, rank0, optim_given=True)

    @property
    def part(self) -> Part:
        """The options, where states are taken."""
        kept = Kept(self.module.span(self.node))
        if self.by_type:
            return call(OPTIONS, Keyword(FULL, self._is_full))
        made = next((c for c in self.configs if c.call is self.node), None)
        return made.options if made is not None else kept

    @property
    def loading(self) -> Part:
        """The options, where an optimizer's state is loaded: from the first rank, if it is full."""
        return call(OPTIONS, Keyword(FULL, self._is_full), Keyword(FROM_FIRST, self._is_full))

    @property
    def _is_full(self) -> Part:
        if self.by_type:
            kept = Kept(self.module.span(self.node))
            return code("{type} == {full}", type=kept, full=Literal("FULL_STATE_DICT"))
        return attribute(self.part, FULL)


def carried_by(analysis: Analysis, module: Module, made: ast.Call) -> Carried | None:
    """The options of the mode that `made` sets, if an expression of the program's own says it."""
    starred = [argument for argument in made.args if isinstance(argument, ast.Starred)]
    if starred:
        plain = not made.keywords and len(made.args) == 3 and made.args[2] is starred[0]
        return _pair(analysis, module, starred[0].value) if plain else None
    given = given_to_mode(made)
    if given is None or any(map(binds_names, given.values())):
        return None
    node, optim = given.get("state_dict_config"), given.get("optim_state_dict_config")
    if node is None:
        kind = given.get("state_dict_type")
        known = optim is None and kind is not None and _is_type(analysis.value(kind))
        return Carried(module, kind) if kind is not None and known else None
    configs = tuple(_configs(analysis, analysis.value(node)))
    if not configs or (optim is not None and not _agree(analysis, configs, analysis.value(optim))):
        return None
    says = optim is not None and analysis.value(optim) != NONE
    return Carried(module, node, configs, for_optim=says)


def _is_type(value: Value) -> bool:
    """Whether a value is made in the program: a member of the enum, or one by its name."""
    return bool(value) and all(
        (isinstance(atom, Symbol) and KINDS.get(atom.name, LOCAL) != LOCAL)
        or (isinstance(atom, Result) and atom.symbol == TYPE)
        for atom in value
    )


def _pair(analysis: Analysis, module: Module, node: ast.expr) -> Carried | None:
    """A pair of configurations that agree, for the model and for the optimizer."""
    value = analysis.value(node)
    sites = {atom.site for atom in value if isinstance(atom, Container) and atom.kind == "tuple"}
    if not value or len(sites) != len(value):
        return None
    pairs = [
        (home, inner)
        for home in analysis.project.modules.values()
        for inner in nodes_in(home.tree)
        if isinstance(inner, ast.Tuple) and home.site(inner) in sites
    ]
    configs: list[Config] = []
    for _, pair in pairs:
        if len(pair.elts) != 2:
            return None
        found = tuple(_configs(analysis, analysis.value(pair.elts[0])))
        if len(found) != 1 or found[0].call is not pair.elts[0]:
            return None
        if not _agree(analysis, found, analysis.value(pair.elts[1])):
            return None
        configs += found
    return Carried(module, node, tuple(configs), tuple(pairs), True) if configs else None


def _configs(analysis: Analysis, value: Value) -> Iterator[Config]:
    """The configurations that a value can be; none, if it can be anything else."""
    found = [config_of(analysis, atom) for atom in value]
    if all(config is not None for config in found):
        yield from (config for config in found if config is not None)


def config_of(analysis: Analysis, atom: Atom) -> Config | None:
    """The configuration that a value is, as it is made."""
    if not isinstance(atom, Result) or CONFIGS.get(atom.symbol) not in ("FULL", "SHARDED"):
        return None
    made = analysis.call_nodes.get(atom.site)
    if made is None or any(isinstance(argument, ast.Starred) for argument in made.args):
        return None
    named: dict[str, ast.expr] = dict(zip(FLAGS, made.args, strict=False))
    named |= {keyword.arg or "": keyword.value for keyword in made.keywords}
    if named.pop("", None) is not None:  # flags from a dict, if they are literals there
        for name, value in analysis.calls[atom.site][1].items():
            known = next(iter(value)) if len(value) == 1 else None
            if not isinstance(known, Const) or not isinstance(known.value, bool):
                return None
            named[name] = ast.Constant(known.value)
    if not named.keys() <= {*FLAGS, "_use_dtensor"} or any(map(binds_names, named.values())):
        return None
    module = analysis.call_graph.module_of(made)
    kind = CONFIGS[atom.symbol]
    return Config(module, made, kind, named.get("offload_to_cpu"), named.get("rank0_only"))


def _agree(analysis: Analysis, configs: tuple[Config, ...], optim: Value) -> bool:
    """Whether the optimizer's configurations say what the model's of the same kind say."""
    if optim == NONE:
        return True
    others = tuple(_configs(analysis, optim))
    return bool(others) and all(
        any(_says_the_same(one, other) for other in others) for one in configs
    )


def _says_the_same(one: Config, other: Config) -> bool:
    if one.kind != other.kind:
        return False
    if one.kind != "FULL":
        return _literal(one.offload) in (_literal(other.offload), None)
    return _same_flag(one.offload, other.offload) and _same_flag(one.rank0, other.rank0)


def _same_flag(one: ast.expr | None, other: ast.expr | None) -> bool:
    """Whether two flags are the same; one that is left out is False."""
    first, second = _literal(one), _literal(other)
    return same(one, other) if first is None or second is None else first == second


def _literal(node: ast.expr | None) -> bool | None:
    """The value of a flag that is written out; it is False where it is left out."""
    if node is None:
        return False
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, bool) else None
