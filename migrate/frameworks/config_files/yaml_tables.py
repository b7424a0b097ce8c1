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
        return [_value(text, node) for node in YAML().compose_all(text) if node is not None]
    except (YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise YamlError(str(problem), mark.index if mark is not None else 0) from error


def _value(text: str, node: Any) -> object:
    kind = type(node).__name__
    if kind == "SequenceNode":
        return [_value(text, item) for item in node.value]
    if kind == "MappingNode":
        return _table(text, node)
    return _scalar(str(node.tag).rpartition(":")[2], node.value)


def _table(text: str, node: Any) -> Table:
    table = Table(text, node.start_mark.index, node.end_mark.index, bool(node.flow_style))
    for key, value in node.value:
        start, end = value.start_mark.index, value.end_mark.index
        if isinstance(key.value, str):
            table.entries.append(
                Entry(
                    key.value,
                    _value(text, value),
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
