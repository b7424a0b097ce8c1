"""YAML with the places of its keys and values; the parser is ruamel.yaml's."""

from __future__ import annotations

from typing import Any

from fsdp_migrate.frameworks.config_files.tables import Entry, Table


class YamlError(ValueError):
    """The text isn't YAML, or holds what can't be edited safely; says where."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def read_yaml(text: str) -> list[object]:
    """The documents in `text`, their mappings as tables.

    Raises:
        YamlError: it isn't YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        nodes = [node for node in YAML().compose_all(text) if node is not None]
        return [_value(text, node, {}) for node in nodes]
    except RecursionError as error:
        raise YamlError("nested too deeply", 0) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise YamlError(str(problem), mark.index if mark is not None else 0) from error


def _value(text: str, node: Any, known: dict[int, object]) -> object:
    """What a node means.  Aliases share it: written out, a few lines of them fill any memory."""
    if id(node) in known:
        return known[id(node)]
    kind = type(node).__name__
    if kind == "SequenceNode":
        items: list[object] = []
        known[id(node)] = items  # before what is in it, which may be itself
        items += [_value(text, item, known) for item in node.value]
        return items
    if kind == "MappingNode":
        return _table(text, node, known)
    return _scalar(str(node.tag).rpartition(":")[2], node.value)


def _table(text: str, node: Any, known: dict[int, object]) -> Table:
    table = Table(text, node.start_mark.index, node.end_mark.index, bool(node.flow_style))
    known[id(node)] = table
    for key, value in node.value:
        start, end = value.start_mark.index, value.end_mark.index
        if isinstance(key.value, str):
            table.entries.append(
                Entry(
                    key.value,
                    _value(text, value, known),
                    key.start_mark.index,
                    key.end_mark.index,
                    start,
                    end,
                )
            )
    return table


def _scalar(tag: str, value: str) -> object:
    if tag == "null":
        return None
    if tag == "bool":
        return value.lower() == "true"
    if tag in ("int", "float"):
        try:
            return int(value.replace("_", ""), 0) if tag == "int" else float(value)
        except ValueError:
            return value
    return value
