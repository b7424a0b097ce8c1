"""What holds for every migration, whatever the program: checked without the engine's own means.

`check(run)` asserts the whole list:

- nothing internal went wrong, every file parses and compiles;
- a second run changes nothing and offers no fix;
- lines that no edit is about are still there, in their order;
- no comment is lost;
- no name of FSDP1 is left that no finding speaks of;
- no name is used that nothing binds, no import came in that nothing uses or that is there twice;
- findings say what they are: fixes where the tier has them, the shim where it is imported.
"""

from __future__ import annotations

import ast
import builtins
import io
import itertools
import symtable
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import Name, Part, parts_of
from fsdp_migrate.findings.edits import Edit, LeaveContext, ReplaceStatement, codes
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from support.programs import FOLDER, Files, Run, migrate

SHIM = "fsdp_migrate.runtime"
FSDP = "torch.distributed.fsdp"
# What torch.distributed.fsdp offers for FSDP2; all else in it is FSDP1's.
FSDP2 = {
    "CPUOffloadPolicy",
    "DataParallelMeshDims",
    "FSDPModule",
    "MixedPrecisionPolicy",
    "OffloadPolicy",
    "UnshardHandle",
    "fully_shard",
    "register_fsdp_forward_method",
    "share_comm_ctx",
}


def check(run: Run) -> None:
    """Assert everything that holds for any migration."""
    assert not run.errors, run.errors
    compiles(run)
    settles(run)
    leaves_lines_alone(run)
    keeps_comments(run)
    leaves_nothing_unmentioned(run)
    binds_names(run)
    labels_findings(run)


def check_variants(run: Run) -> None:
    """Assert that newline style and a missing final newline change nothing else."""

    def other(files: Files) -> dict[str, str]:
        return {name: _unended(name, text).replace("\n", "\r\n") for name, text in files.items()}

    def _unended(name: str, text: str) -> str:
        # a file of one line has to keep its end, which alone tells the newline style
        return text.rstrip("\n") if run.before[name].count("\n") > 1 else text

    assert dict(migrate(other(run.before), run.options).after) == other(run.after)


def compiles(run: Run) -> None:
    """Every file is Python, down to the compiler's own complaints."""
    for name, text in run.after.items():
        compile(text, name, "exec", dont_inherit=True)


def settles(run: Run) -> None:
    """Running again finds nothing more to do."""
    again = run.second
    assert not again.errors, again.errors
    assert dict(again.after) == dict(run.after), "a second run changes more"
    fixable = [str(item) for item in again.findings if item.fix is not None]
    assert not fixable, f"a second run still offers {fixable}"


# ---------------------------------------------------------------------- lines and comments
def leaves_lines_alone(run: Run) -> None:
    """What no edit and no import is about stays as it is, line by line."""
    for name in run.changed:
        before, after = _lines(run.before[name]), _lines(run.after[name])
        edited = _edited_lines(run.before[name], run.of(name))
        edited |= _blank_neighbours(before, edited)
        kept = [line for number, line in enumerate(before, 1) if number not in edited]
        rest = iter(after)
        for line in kept:
            assert line in rest, f"{name}: the line {line!r} is not where it was"


def _lines(text: str) -> list[str]:
    return text.split("\n")


def _edited_lines(text: str, findings: Iterable[Finding]) -> set[int]:
    """The lines of the statements that edits are about, of imports and of `__all__`."""
    tree = ast.parse(text)
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    lines: set[int] = set()
    for node in statements:
        exports = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if exports or isinstance(node, ast.Import | ast.ImportFrom) or _only_imports(node):
            lines |= _extent(node)
    for item in findings:
        if item.fix is None:
            continue
        for edit in (edit for edits in item.fix.edits.values() for edit in edits):
            around = [n for n in statements if edit.span.line in _extent(n)]
            inner = max(around, key=lambda n: (n.lineno, n.col_offset))
            if isinstance(edit, ReplaceStatement | LeaveContext) or not hasattr(inner, "body"):
                lines |= _extent(inner)
            lines |= set(range(edit.span.line, edit.span.end_line + 1))
    return lines


def _only_imports(node: ast.stmt) -> bool:
    """Whether `node` is a block for type checkers that imports, and does nothing else."""
    return isinstance(node, ast.If) and all(
        isinstance(item, ast.Import | ast.ImportFrom) for item in node.body
    )


def _extent(node: ast.stmt) -> set[int]:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return set(range(first, (node.end_lineno or node.lineno) + 1))


def _blank_neighbours(lines: list[str], edited: set[int]) -> set[int]:
    """Blank lines next to an edit may come and go with it."""
    found: set[int] = set()
    for number, line in enumerate(lines, 1):
        near = {number - 1, number + 1} & (edited | found)
        if not line.strip() and near:
            found.add(number)
    return found


def comments(text: str) -> Counter[str]:
    """The comments of a file, as often as they stand in it."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(token.string.rstrip() for token in tokens if token.type == tokenize.COMMENT)


def keeps_comments(run: Run) -> None:
    """Every comment is still there, but for those of imports and arguments that are gone."""
    for name in run.changed:
        lost = comments(run.before[name]) - comments(run.after[name])
        lost -= _comments_of_imports(run.before[name])
        lost -= _comments_of_arguments(run.before[name])
        assert not lost, f"{name}: lost the comments {list(lost)}"


# Arguments of FSDP1's constructor of which FSDP2 has nothing.
_NO_ARGUMENTS = (
    *("backward_prefetch", "device_id", "forward_prefetch", "limit_all_gathers"),
    "use_orig_params",
)


def _comments_of_arguments(text: str) -> Counter[str]:
    """The comments behind arguments that have no counterpart, and above those of precisions."""
    lines = [line.strip() for line in _lines(text)]
    behind = [line for line in lines if line.startswith(tuple(f"{n}=" for n in _NO_ARGUMENTS))]
    above = [
        line
        for line, below in itertools.pairwise(lines)
        if line.startswith("#") and below.startswith("buffer_dtype=")
    ]
    return Counter(line[line.index("#") :] for line in (*behind, *above) if "#" in line)


def _comments_of_imports(text: str) -> Counter[str]:
    """The comments on the lines of imports, and right above them."""
    lines = _lines(text)
    found: Counter[str] = Counter()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            first = node.lineno
            while first > 1 and lines[first - 2].lstrip().startswith("#"):
                first -= 1
            for line in lines[first - 1 : node.end_lineno]:
                if "#" in line:
                    found[line[line.index("#") :].rstrip()] += 1
    return found


# ---------------------------------------------------------------------- names
def leaves_nothing_unmentioned(run: Run) -> None:
    """A name of FSDP1 that is left has a finding on its line; an import of one, in its file."""
    for name, text in run.after.items():
        spoken = run.second.of(name) if name in run.changed else run.of(name)
        lines = {line for item in spoken for line in _statement_lines(text, item.line)}
        for line, word, is_import in fsdp1_names(ast.parse(text)):
            said = bool(spoken) if is_import else line in lines
            assert said, f"{name}:{line}: {word} is left, and no finding says so"


def _statement_lines(text: str, line: int) -> set[int]:
    inside = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt) and line in _extent(n)
    ]
    inner = max(inside, key=lambda n: (n.lineno, n.col_offset), default=None)
    return {line} if inner is None or hasattr(inner, "body") else _extent(inner)


def fsdp1_names(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """FSDP1's names in a file, by how they look: line, name, whether it is an import."""
    known: dict[str, str] = {}  # local name -> what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                if alias.name.startswith(FSDP + "."):
                    yield node.lineno, alias.name, True
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = full
                if _is_fsdp1(full):
                    yield node.lineno, full, True
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not _loads(n)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and _loads(node):
            path = _dotted(node)
            head, _, rest = path.partition(".")
            if head in known and head not in bound:
                full = f"{known[head]}.{rest}" if rest else known[head]
                if _is_fsdp1(full):
                    yield node.lineno, full, False


def _is_fsdp1(name: str) -> bool:
    if not name.startswith(FSDP + ".") or name.endswith(".*"):
        return name == f"{FSDP}.*"
    return name[len(FSDP) + 1 :].split(".")[0] not in FSDP2


def _loads(node: ast.expr) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Load)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return node.id if isinstance(node, ast.Name) else ""


def unbound(text: str) -> set[str]:
    """The names that a file reads and nothing binds, as the compiler's symbol table has it."""
    tree = ast.parse(text)
    if any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in ast.walk(tree)):
        return set()
    top = symtable.symtable(text, "file", "exec")
    known = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    known |= {s.get_name() for s in top.get_symbols() if s.is_namespace()}
    known |= {*dir(builtins), "__file__", "__name__", "__doc__", "__spec__", "__class__"}
    loose: set[str] = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_declared_global() and symbol.is_assigned():
                known.add(symbol.get_name())
            if symbol.is_referenced() and (symbol.is_global() or table is top):
                loose.add(symbol.get_name())
    return loose - known


def _imports(text: str) -> Counter[str]:
    """The names that the imports of a file bind, by scope."""
    found: Counter[str] = Counter()

    def visit(node: ast.AST, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for alias in child.names:
                    # `import a.b` twice over for different b is no repetition
                    bound = alias.asname or alias.name
                    found[f"{scope}{bound}"] += 1
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            visit(child, f"{scope}{child.name}." if named else scope)

    visit(ast.parse(text), "")
    return found


def binds_names(run: Run) -> None:
    """Nothing is unbound that was bound, and the imports are what the file needs."""
    for name in run.changed:
        before, after = run.before[name], run.after[name]
        loose = unbound(after) - unbound(before)
        assert not loose, f"{name}: {sorted(loose)} is not bound any more"
        old, new = _imports(before), _imports(after)
        twice = [word for word, count in new.items() if count > max(1, old[word])]
        assert not twice, f"{name}: {twice} is imported twice"
        taken = {w for w in new - old if w.rpartition(".")[2] in _assigned(after)}
        assert not taken, f"{name}: {taken} is imported, and is something else in places"
        read = _read(after)
        useless = [w for w in new - old if w.rpartition(".")[2] not in read and w != "*"]
        useless = [w for w in useless if w.split(".")[0] not in read]
        exported = {w for w in useless if _imported_elsewhere(run, w)}
        assert set(useless) <= exported, f"{name}: {useless} is imported for nothing"


def _assigned(text: str) -> set[str]:
    """The names that something else than an import binds, outside of handlers of its failure."""
    tree = ast.parse(text)
    apart: set[ast.AST] = set()  # handlers, and what is of a class and not of its methods
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            apart |= set(ast.walk(node))
        elif isinstance(node, ast.ClassDef):
            apart |= set(node.body)
            apart |= {t for n in node.body if isinstance(n, ast.Assign) for t in n.targets}
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in apart:
            continue
        if isinstance(node, ast.Name) and not _loads(node):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def _read(text: str) -> set[str]:
    """The names that a file reads, in strings too."""
    words: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words |= set(node.value.replace("[", " ").replace("]", " ").split())
    return words


def _imported_elsewhere(run: Run, word: str) -> bool:
    """Whether another file of the program takes the name from this one."""
    return any(
        isinstance(node, ast.ImportFrom) and any(a.name in (word, "*") for a in node.names)
        for text in run.after.values()
        for node in ast.walk(ast.parse(text))
    )


# ---------------------------------------------------------------------- findings
def labels_findings(run: Run) -> None:
    """Tier, safety and fix of each finding agree with each other and with the output."""
    for item in run.findings:
        fixes = item.tier in (Tier.NATIVE, Tier.SHIM)
        assert (item.fix is not None) == fixes, f"{item}: {item.tier} and fix don't agree"
        assert item.message.strip(), f"{item}: says nothing"
        assert item.path.relative_to(FOLDER).as_posix() in run.before
        lines = run.before[item.path.relative_to(FOLDER).as_posix()].split("\n")
        assert 1 <= item.line <= len(lines), f"{item}: no such line"
        assert 1 <= item.col <= len(lines[item.line - 1]) + 1, f"{item}: no such column"
        if item.fix is None:
            continue
        assert item.fix.safety is item.safety, f"{item}: the fix is {item.fix.safety}"
        assert isinstance(item.safety, Safety)
        every = [
            part for edits in item.fix.edits.values() for edit in edits for part in _parts(edit)
        ]
        shims = {part for part in every if isinstance(part, Name) and part.module == SHIM}
        assert not (item.tier is Tier.NATIVE and shims), f"{item}: native, and uses {shims}"
    imports_shim = {name for name in run.changed if SHIM in run.after[name]}
    if any(item.tier is Tier.SHIM for item in run.findings):
        assert imports_shim, "a finding says shim, and nothing imports it"
    elif not any(SHIM in text for text in run.before.values()):
        assert not imports_shim, f"{imports_shim} import the shim, and no finding says so"


def _parts(edit: Edit) -> list[Part]:
    """All parts of the code that an edit brings in."""
    return [part for code in codes(edit) for part in parts_of(code)]
