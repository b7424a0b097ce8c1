"""The shape of the code in figures, each with its aim: `python tests/measures.py`.

Measured are `migrate/`, `rules/` and `runtime/`; of `tests/` only whether a room or a module has a
test of its own.  `test_measures.py` holds the figures that have to stay at zero.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "fsdp_migrate"
FOLDERS = {"migrate": PACKAGE, "rules": f"{PACKAGE}.rules", "runtime": f"{PACKAGE}.runtime"}

LONGEST_FILE = 400
LONGEST_FUNCTION = 40
MEDIAN_FILE = 110
MOST_BRANCHES, BRANCHY = 15, 15  # of a function; how many functions may have more
LONGEST_RULE = 150
ONE_TEST_EACH = ("analysis", "lowering", "rewriting")  # the rooms whose modules all have tests

# The rooms from the inside out: a module imports from its own room and from those before it.
# `discovery` stands before `reporting`, which tells the user what was discovered.  The registry
# stands after `rules`: it is the one part of the engine that imports them.
ORDER = (
    "runtime",
    "syntax",
    "findings",
    "analysis",
    "lowering",
    "frameworks",
    "rule",
    "rules",
    "rule.registry",
    "discovery",
    "planning",
    "rewriting",
    "reporting",
    "engine",
    "cli",
    "__main__",
)
# The runtime is the innermost room because it imports none, and still not everybody's to import.
STARTS_THE_RUNTIME = {"runtime", "cli"}


@dataclass(frozen=True)
class File:
    """A module of the program, parsed."""

    name: str  # as it is imported, without `fsdp_migrate.`
    path: Path

    @cached_property
    def text(self) -> str:
        """What is in it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> int:
        """How many lines it has."""
        return len(self.text.splitlines())

    @property
    def room(self) -> str:
        """The room that it stands in."""
        return self.name if self.name in ORDER else self.name.partition(".")[0]

    @property
    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Its functions and methods, those inside others too, each with a name for people."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{self.name}:{node.name} (line {node.lineno})", node


@dataclass(frozen=True)
class Measure:
    """A figure, and who is behind it."""

    title: str
    now: float
    aim: float
    offenders: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{'ok ' if self.now <= self.aim else 'NO '} {self.title}: {self.now:g}"
        return "\n".join([f"{head} (aim: {self.aim:g})", *(f"      {o}" for o in self.offenders)])


def files() -> dict[str, File]:
    """The modules of the program by name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            dotted = ".".join(part for part in parts if part != "__init__")
            name = dotted.removeprefix(PACKAGE).removeprefix(".")
            found[name] = File(name, path)
    return found


# ---------------------------------------------------------------------- imports
def imported(file: File, known: Mapping[str, File]) -> dict[str, int]:
    """The modules of the program that a file imports, each with the first line that does so.

    Imports inside functions and under `TYPE_CHECKING` count like any other.  `from package import
    module` is an import of the module alone.
    """
    found: dict[str, int] = {}
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [name for name in below if _short(name) in known]
            dotted = inner if len(inner) == len(below) else [*inner, node.module]
        else:
            continue
        for name in dotted:
            if _short(name) in known and _short(name) != file.name:
                found.setdefault(_short(name) or "", node.lineno)
    return found


def _short(dotted: str) -> str | None:
    """The name of a module of the program without the package's; None for other modules."""
    if dotted == PACKAGE:
        return ""
    inside = dotted.startswith(f"{PACKAGE}.")
    return dotted.removeprefix(f"{PACKAGE}.") if inside else None


def cycles(known: Mapping[str, File]) -> list[tuple[str, ...]]:
    """The groups of modules that import each other, in a circle or in several."""
    edges = {name: set(imported(file, known)) for name, file in known.items()}
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        todo = [start]
        while todo:
            todo += (new := edges[todo.pop()] - seen)
            seen |= new
        reach[start] = seen
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in edges
        if name in reach[name]
    }
    return sorted(groups)


def against_order(known: Mapping[str, File]) -> list[tuple[str, str]]:
    """The imports from a room that stands further out: (module, what is said of it)."""
    found = []
    for name, file in known.items():
        for target, line in imported(file, known).items():
            room = known[target].room
            if not target or room == file.room:
                continue  # the package itself: its version
            outward = ORDER.index(room) > ORDER.index(file.room)
            if outward or (room == "runtime" and file.room not in STARTS_THE_RUNTIME):
                found.append((name, f"{name} imports {target} (line {line})"))
    return found


# ---------------------------------------------------------------------- sizes
def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, its docstring and signature left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def long_files(known: Mapping[str, File]) -> list[tuple[str, int]]:
    """The files with more lines than a file may have, the longest first."""
    found = [(name, file.lines) for name, file in known.items() if file.lines > LONGEST_FILE]
    return sorted(found, key=lambda item: -item[1])


def long_functions(known: Mapping[str, File]) -> list[tuple[str, str, int]]:
    """The functions that are too long: (module, the function, its lines), the longest first."""
    found = [
        (name, title, body_lines(node))
        for name, file in known.items()
        for title, node in file.functions
        if body_lines(node) > LONGEST_FUNCTION
    ]
    return sorted(found, key=lambda item: -item[2])


def complexity(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """One, and one more for each place where a function's own way forks.

    Forks are: if (also in an expression), loop, `except`, case of a `match`, `for` and `if` of a
    comprehension, and each `and` or `or`.  A function inside it is counted for itself.
    """
    total = 1
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            total += 1 + len(node.ifs)
        elif isinstance(
            node,
            ast.If | ast.IfExp | ast.For | ast.AsyncFor | ast.While | ast.ExceptHandler
            | ast.match_case,
        ):  # fmt: skip
            total += 1
        todo += ast.iter_child_nodes(node)
    return total


def branchy(known: Mapping[str, File]) -> list[tuple[str, int]]:
    """The functions with more branches than a function should have, the worst first."""
    found = [
        (title, complexity(node))
        for file in known.values()
        for title, node in file.functions
        if complexity(node) > MOST_BRANCHES
    ]
    return sorted(found, key=lambda item: -item[1])


def long_rules(known: Mapping[str, File]) -> list[tuple[str, int]]:
    """The rules that are too long when docstring and metadata (`RULE = Rule(...)`) are left out."""
    found = []
    for name, file in known.items():
        if file.room != "rules":
            continue
        lines = file.lines - sum(_length(node) for node in file.tree.body if _is_metadata(node))
        if lines > LONGEST_RULE:
            found.append((name, lines))
    return sorted(found, key=lambda item: -item[1])


def _is_metadata(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
        return isinstance(node.value.func, ast.Name) and node.value.func.id == "Rule"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# ---------------------------------------------------------------------- tests
def untested_modules(known: Mapping[str, File]) -> list[str]:
    """The modules of the rooms where each has a test of its own, `test_<module>.py`, without it."""
    missing = []
    for name, file in known.items():
        if file.room in ONE_TEST_EACH and file.path.stem != "__init__":
            tests = (ROOT / "tests" / file.room).rglob(f"test_{file.path.stem}.py")
            if not any(tests):
                missing.append(name)
    return missing


def untested_rooms(known: Mapping[str, File]) -> list[str]:
    """The rooms without a test file in the folder of their name."""
    rooms = {file.name.partition(".")[0] for file in known.values() if "." in file.name}
    return sorted(r for r in rooms if not any((ROOT / "tests" / r).rglob("test_*.py")))


# ---------------------------------------------------------------------- the report
def measures(known: Mapping[str, File]) -> Iterator[Measure]:
    """All of them, the first four being those that a test holds."""
    circles = cycles(known)
    yield Measure("import cycles", len(circles), 0, tuple(map(", ".join, circles)))
    yield _counted("imports against the order of rooms", [o for _, o in against_order(known)])
    yield _counted(f"files over {LONGEST_FILE} lines", _said(long_files(known)))
    functions = [(title, lines) for _, title, lines in long_functions(known)]
    yield _counted(
        f"functions over {LONGEST_FUNCTION} lines (body without docstring)", _said(functions)
    )
    sizes = [file.lines for file in known.values() if file.path.stem != "__init__"]
    yield Measure("lines of the median file", statistics.median(sizes), MEDIAN_FILE)
    yield _counted(
        f"functions of a complexity over {MOST_BRANCHES}", _said(branchy(known)), BRANCHY
    )
    yield _counted(f"rules over {LONGEST_RULE} lines without metadata", _said(long_rules(known)))
    yield _counted(
        f"modules of {', '.join(ONE_TEST_EACH)} without a test of their own",
        untested_modules(known),
    )
    yield _counted("rooms without a test", untested_rooms(known))


def _counted(title: str, offenders: Iterable[str], aim: int = 0) -> Measure:
    names = tuple(offenders)
    return Measure(title, len(names), aim, names)


def _said(sized: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{size:5}  {name}" for name, size in sized]


def main() -> int:
    """Print the measures; the exit code says whether every aim is reached."""
    found = list(measures(files()))
    print("\n".join(map(str, found)))
    return int(any(measure.now > measure.aim for measure in found))


if __name__ == "__main__":
    sys.exit(main())
