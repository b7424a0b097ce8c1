"""Wrap policies that are a condition on the module: which submodules become FSDP units."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Definition, definition
from fsdp_migrate.analysis.values import Cls, Func, Instance, Result, Symbol, Value
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module, standing_alone
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

_WRITTEN_OUT = (ast.Set, ast.Tuple, ast.List, ast.Lambda, ast.Call)
TRANSFORMER = f"{ROOT}.wrap.transformer_auto_wrap_policy"
LAMBDA = f"{ROOT}.wrap.lambda_auto_wrap_policy"
OR = f"{ROOT}.wrap._or_policy"
MODULE_WRAP = f"{ROOT}.wrap.ModuleWrapPolicy"


@dataclass(frozen=True)
class Condition:
    """A test of a submodule, which the source `text` calls by `variable`.

    `nested` says that a unit may contain another one, so that the inner one has to be sharded
    first; `open`, that it may hold for modules of other classes than those named here.
    """

    text: str
    variable: str
    nested: bool
    classes: frozenset[Site] = frozenset()  # of the project
    libraries: frozenset[str] = frozenset()  # by canonical name
    open: bool = False

    def may_hold_for(self, solver: Analysis, root: Value) -> bool:
        """Whether the condition may hold for the module that is wrapped itself."""
        own = {a.cls for a in root if isinstance(a, Instance)}
        lineage = {site for cls in own for site in solver.lineage(cls)}
        libraries = {a.symbol for a in root if isinstance(a, Result)}
        libraries |= {name for cls in own for name in solver.library_bases(cls)}
        return self.open or bool(lineage & self.classes or libraries & self.libraries)

    @property
    def is_class_test(self) -> bool:
        """Whether it asks for nothing but the classes."""
        tree = ast.parse(f"({self.text})", mode="eval").body
        tests = tree.values if isinstance(tree, ast.BoolOp) else [tree]
        either = not isinstance(tree, ast.BoolOp) or isinstance(tree.op, ast.Or)
        return either and all(
            isinstance(test, ast.Call)
            and isinstance(test.func, ast.Name)
            and test.func.id == "isinstance"
            for test in tests
        )

    def without(self, root: str) -> str:
        """The text of the condition that does not hold for `root`."""
        tree = ast.parse(f"({self.text})", mode="eval").body
        loose = isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.Or)
        loose = loose or isinstance(tree, ast.IfExp | ast.Lambda | ast.NamedExpr)
        return f"{self.variable} is not {root} and {f'({self.text})' if loose else self.text}"


def lower_policy(
    solver: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    """The condition that the policy written at `node` is, or None if it isn't one.

    Definitions that the policy was followed through are added to `absorbed`.
    """
    node = _follow(module, node, absorbed)
    if not isinstance(node, ast.Call):
        return None
    callee = solver.value(node.func)
    if callee == {Symbol("functools.partial")} and len(node.args) == 1:
        kind = solver.value(node.args[0])
        given = {k.arg: k.value for k in node.keywords}
        if kind == {Symbol(TRANSFORMER)} and set(given) == {"transformer_layer_cls"}:
            return _classes(solver, module, given["transformer_layer_cls"], absorbed)
        if kind == {Symbol(LAMBDA)} and set(given) == {"lambda_fn"}:
            return _predicate(solver, module, given["lambda_fn"], absorbed)
        if kind == {Symbol(OR)} and set(given) == {"policies"}:
            return _any(solver, module, given["policies"], absorbed)
    if callee == {Symbol(MODULE_WRAP)}:
        words = [*node.args, *(k.value for k in node.keywords if k.arg == "module_classes")]
        if len(words) == 1 and len(node.args) + len(node.keywords) == 1:
            return _classes(solver, module, words[0], absorbed)
    return _made_by_function(solver, module, node, absorbed)


def _any(
    solver: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    node = _follow(module, node, absorbed)
    if not isinstance(node, ast.List | ast.Tuple | ast.Set) or not node.elts:
        return None
    parts = [lower_policy(solver, module, item, absorbed) for item in node.elts]
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    text = " or ".join(_operand(part.text) for part in known)
    return Condition(
        text,
        known[0].variable,
        nested=True,
        classes=frozenset().union(*(p.classes for p in known)),
        libraries=frozenset().union(*(p.libraries for p in known)),
        open=any(p.open for p in known),
    )


def _operand(text: str) -> str:
    """A test as a part of a larger one: in parentheses, where it is more than a call."""
    test = ast.parse(text, mode="eval").body
    loose = isinstance(test, ast.BoolOp | ast.IfExp | ast.Lambda | ast.NamedExpr)
    return f"({text})" if loose else text


def _made_by_function(
    solver: Analysis, module: Module, call: ast.Call, absorbed: list[Definition]
) -> Condition | None:
    """What a small function of the same file, which only builds a policy, returns."""
    value = solver.value(call.func)
    if len(value) != 1 or call.args or call.keywords:
        return None
    (atom,) = value
    info = solver.functions.get(atom.site) if isinstance(atom, Func) else None
    if info is None or info.module is not module or not isinstance(info.node, ast.FunctionDef):
        return None
    body = [s for s in info.node.body if not is_docstring(s)]
    if not body or not isinstance(body[-1], ast.Return) or body[-1].value is None:
        return None
    if not all(isinstance(s, ast.Assign) for s in body[:-1]) or info.node.decorator_list:
        return None
    parameters = {a.arg for a in ast.walk(info.node.args) if isinstance(a, ast.arg)}
    if any(isinstance(n, ast.Name) and n.id in parameters for s in body for n in ast.walk(s)):
        return None
    inside: list[Definition] = []
    condition = lower_policy(solver, module, body[-1].value, inside)
    if condition is not None:
        absorbed.append(info.node)
    return condition


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _follow(module: Module, node: ast.expr, absorbed: list[Definition]) -> ast.expr:
    """`node`, or what the one assignment of the variable that it names says."""
    if isinstance(node, ast.Name):
        found = definition(module, node)
        if found is not None and isinstance(found.value, _WRITTEN_OUT):
            absorbed.append(found)
            return found.value
    return node


def _classes(
    solver: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    variable = loop_variable(module)
    through: list[Definition] = []
    written = _unpacked(solver, _follow(module, node, through))
    if not isinstance(written, ast.Set | ast.Tuple | ast.List):
        node = _unpacked(solver, node)
        if path_of(node) is None:
            return None
        text = f"isinstance({variable}, tuple({module.text(node)}))"
        return Condition(text, variable, nested=True, open=True)
    if not written.elts:
        return None
    absorbed += through
    atoms = [atom for item in written.elts for atom in solver.value(item)]
    own = frozenset(a.site for a in atoms if isinstance(a, Cls))
    libraries = frozenset(a.name for a in atoms if isinstance(a, Symbol))
    known = len(own) + len(libraries) == len(atoms) == len(written.elts)
    names = [module.text(item) for item in written.elts]
    starred = any(isinstance(item, ast.Starred) for item in written.elts)
    comma = "," if starred and len(names) == 1 else ""
    tested = names[0] if len(names) == 1 and not starred else f"({', '.join(names)}{comma})"
    nested = not known or _may_nest(solver, own, libraries)
    text = f"isinstance({variable}, {tested})"
    return Condition(text, variable, nested, own, libraries, open=not known)


def _unpacked(solver: Analysis, node: ast.expr) -> ast.expr:
    """What a call like `set(classes)` is given."""
    kinds = {Symbol(f"builtins.{name}") for name in ("set", "frozenset", "tuple", "list")}
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        if solver.value(node.func) and solver.value(node.func) <= kinds:
            return node.args[0]
    return node


def _may_nest(solver: Analysis, own: frozenset[Site], libraries: frozenset[str]) -> bool:
    """Whether a module of one of the classes may hold one of any of them."""
    if libraries:
        single = len(libraries) == 1 and not own
        # Layers of torch that hold modules given by the user may hold anything.
        return not single or next(iter(libraries)).endswith(
            ("Sequential", "ModuleList", "ModuleDict", "Transformer")
        )
    reach: set[Site] = set()
    todo = list(own)
    seen: set[Site] = set()
    while todo:
        site = todo.pop()
        if site in seen:
            continue
        seen.add(site)
        for cls in solver.lineage(site):
            info = solver.classes[cls]
            for call in ast.walk(info.node):
                value = solver.value(call.func) if isinstance(call, ast.Call) else frozenset()
                for atom in value:
                    if isinstance(atom, Cls):
                        reach.add(atom.site)
                        todo.append(atom.site)
            if any(not isinstance(b, Cls | Symbol) for b in solver.bases(cls)):
                return True
    return any(target in solver.lineage(made) for made in reach for target in own)


def _predicate(
    solver: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    followed = _follow(module, node, absorbed)
    if isinstance(followed, ast.Lambda):
        args = followed.args
        names = [a.arg for a in [*args.posonlyargs, *args.args]]
        if len(names) != 1 or args.defaults or args.vararg or args.kwarg or args.kwonlyargs:
            return None
        body = followed.body
        if _is_class_test(solver, body, names[0]):
            assert isinstance(body, ast.Call)
            classes = body.args[1]
            items = classes if isinstance(classes, ast.Tuple) else ast.Tuple([classes], ast.Load())
            return _classes(solver, module, items, absorbed)
        variable = loop_variable(module)
        text = _renamed(module, body, names[0], variable)
        return _open(text, variable, _tested(solver, body, names[0]))
    if isinstance(followed, ast.Name):
        variable = loop_variable(module)
        tested = _tested_by_function(solver, followed)
        return _open(f"{followed.id}({variable})", variable, tested)
    return None


def _open(text: str, variable: str, tested: Value | None) -> Condition:
    """A condition that holds for modules of the classes `tested` only, if those are known."""
    value = tested or frozenset()
    own = frozenset(a.site for a in value if isinstance(a, Cls))
    libraries = frozenset(a.name for a in value if isinstance(a, Symbol))
    return Condition(text, variable, True, own, libraries, open=tested is None)


def _tested_by_function(solver: Analysis, node: ast.expr) -> Value | None:
    """The classes that a predicate of the program, a single `return`, asks for."""
    value = solver.value(node)
    if len(value) != 1:
        return None
    (atom,) = value
    info = solver.functions.get(atom.site) if isinstance(atom, Func) else None
    if info is None or not isinstance(info.node, ast.FunctionDef) or len(info.node.args.args) != 1:
        return None
    body = [s for s in info.node.body if not is_docstring(s)]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return None
    return _tested(solver, body[0].value, info.node.args.args[0].arg)


def _tested(solver: Analysis, node: ast.expr, name: str) -> Value | None:
    """The classes outside of which a test of the module `name` fails, or None if there may be more.

    Being in a collection, one of the model's own, is nothing that the model itself can be.
    """
    if _is_class_test(solver, node, name):
        assert isinstance(node, ast.Call)
        classes = node.args[1]
        items = classes.elts if isinstance(classes, ast.Tuple) else [classes]
        value: Value = frozenset().union(*(solver.value(item) for item in items))
        return value if value and all(isinstance(a, Cls | Symbol) for a in value) else None
    if isinstance(node, ast.BoolOp):
        parts = [_tested(solver, part, name) for part in node.values]
        known = [part for part in parts if part is not None]
        if isinstance(node.op, ast.And):
            return min(known, key=len) if known else None
        return frozenset().union(*known) if len(known) == len(parts) else None
    if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == name:
        inside = ast.walk(node.comparators[0])
        every = any(isinstance(n, ast.Attribute) and n.attr.endswith("modules") for n in inside)
        return frozenset() if isinstance(node.ops[0], ast.In) and not every else None
    return None


def _is_class_test(solver: Analysis, node: ast.expr, name: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and solver.value(node.func) == {Symbol("builtins.isinstance")}
        and len(node.args) == 2
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id == name
    )


def loop_variable(module: Module) -> str:
    """A name for a submodule that the file doesn't use for anything else."""
    names = ("module", "submodule", "unit", "fsdp_unit")
    return next((n for n in names if n not in module.bound_names), "_fsdp_unit")


def _renamed(module: Module, body: ast.expr, name: str, variable: str) -> str:
    """The source of a lambda's body, its parameter called `variable`."""
    text = module.segment(body)
    start = module.span(body)
    spans = sorted(
        (module.span(n) for n in ast.walk(body) if isinstance(n, ast.Name) and n.id == name),
        reverse=True,
    )
    lines = text.split("\n")
    for span in spans:
        row = span.line - start.line
        shift = start.col if row == 0 else 0
        line = lines[row]
        lines[row] = line[: span.col - shift] + variable + line[span.end_col - shift :]
    short = " ".join(line.strip() for line in lines)
    fits = "#" not in short and len(short) < module.line_length - 8
    joined = short if fits and _same(short, lines) else "\n".join(lines)
    return standing_alone(joined)


def _same(text: str, lines: list[str]) -> bool:
    """Whether `text` says what the lines, put between parentheses, say."""
    try:
        old = ast.parse(f"({chr(10).join(lines)})", mode="eval")
        return ast.dump(ast.parse(text, mode="eval")) == ast.dump(old)
    except SyntaxError:
        return False
