"""Which of some lines a program executes.

From Python 3.12 on this costs nothing; before, it is done in rehearsals only, where no compiler
minds that a program is traced.
"""

from __future__ import annotations

import ast
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_TOOL = 4  # of `sys.monitoring`; the numbers below have a meaning
_NAME = "fsdp-migrate"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Lines:
    """Notes down which places are reached, named as they were asked for."""

    def __init__(self, watched: Path | None) -> None:
        self.reached: set[str] = set()
        self._left: dict[str, dict[int, list[str]]] = {}
        for path, places in json.loads(watched.read_text()).items() if watched else ():
            self._left[path] = _by_line(Path(path), places)

    def start(self, *, tracing: bool) -> None:
        """Watch from now on, by a trace function if there is no better way."""
        if not self._left:
            return
        monitoring: Any = getattr(sys, "monitoring", None)
        if monitoring is not None and monitoring.get_tool(_TOOL) is None:
            monitoring.use_tool_id(_TOOL, _NAME)
            monitoring.register_callback(_TOOL, monitoring.events.LINE, self._monitored)
            monitoring.set_events(_TOOL, monitoring.events.LINE)
        elif monitoring is None and tracing and sys.gettrace() is None:
            threading.settrace(self._called)
            sys.settrace(self._called)

    def _monitored(self, code: Any, line: int) -> Any:
        self._reach(code.co_filename, line)
        return sys.monitoring.DISABLE  # type: ignore[attr-defined,unused-ignore]

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._traced if frame.f_code.co_filename in self._left else None

    def _traced(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._reach(frame.f_code.co_filename, frame.f_lineno)
        return self._traced

    def _reach(self, file: str, line: int) -> None:
        places = self._left.get(file)
        if places and line in places:
            self.reached.update(places[line])


def _by_line(path: Path, places: dict[str, int]) -> dict[int, list[str]]:
    """The places by the lines of the statements that they are in."""
    found: dict[int, list[str]] = {}
    try:
        statements = list(_statements(ast.parse(path.read_bytes())))
    except (OSError, SyntaxError, ValueError):
        return found
    for name, line in places.items():
        around = [lines for lines in statements if line in lines]
        for each in min(around, key=len, default=range(line, line + 1)):
            found.setdefault(each, []).append(name)
    return found


def _statements(tree: ast.AST) -> Iterator[range]:
    """The lines of each statement, of a compound one those of its head."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.stmt, ast.match_case)):
            continue
        if isinstance(node, ast.match_case):
            yield range(node.pattern.lineno, node.body[0].lineno)
            continue
        begin, end = node.lineno, (node.end_lineno or node.lineno) + 1
        if isinstance(node, _DEFINITIONS):
            begin = min([begin, *(decorator.lineno for decorator in node.decorator_list)])
        body = getattr(node, "body", None)
        if isinstance(body, list) and body:
            end = max(body[0].lineno, begin + 1)
        yield range(begin, end)
