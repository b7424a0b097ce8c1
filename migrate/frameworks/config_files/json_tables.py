"""JSON with the places of its keys and values."""

from __future__ import annotations

import json
import re
from typing import Any

from fsdp_migrate.frameworks.config_files.tables import Entry, Table

_BLANK = re.compile(r"[ \t\r\n]*")
_ATOM = re.compile(r"[^\s,\]}]+")


def _integer(digits: str) -> int | str:
    """A number; its digits, if they are more than Python makes numbers of."""
    try:
        return int(digits)
    except ValueError:
        return digits


_DECODER = json.JSONDecoder(parse_int=_integer)


class JsonError(ValueError):
    """The text isn't JSON; says where it goes wrong."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def read_json(text: str) -> object:
    """The value that `text` is, its objects as tables.

    Raises:
        JsonError: it isn't JSON.
    """
    try:
        _DECODER.decode(text)
        return _value(text, _skip(text, 0))[0]
    except json.JSONDecodeError as error:
        raise JsonError(error.msg, error.pos) from error
    except RecursionError as error:
        raise JsonError("nested too deeply", 0) from error


def _value(text: str, at: int) -> tuple[object, int]:
    if text[at] == "{":
        return _object(text, at)
    if text[at] == "[":
        items: list[object] = []
        end = _skip(text, at + 1)
        while text[end] != "]":
            item, end = _value(text, end)
            items.append(item)
            end = _skip(text, end)
            end = _skip(text, end + 1) if text[end] == "," else end
        return items, end + 1
    if text[at] == '"':
        return _string(text, at)
    found = _ATOM.match(text, at)
    assert found is not None
    atom: Any = _DECODER.decode(found[0])
    return atom, found.end()


def _object(text: str, at: int) -> tuple[Table, int]:
    table = Table(text, at, at, flow=True, json=True)
    end = _skip(text, at + 1)
    while text[end] != "}":
        key_start = end
        key, key_end = _string(text, key_start)
        start = _skip(text, text.index(":", key_end) + 1)
        value, stop = _value(text, start)
        table.entries.append(Entry(key, value, key_start, key_end, start, stop))
        end = _skip(text, stop)
        end = _skip(text, end + 1) if text[end] == "," else end
    table.end = end + 1
    return table, end + 1


def _string(text: str, at: int) -> tuple[str, int]:
    value, end = _DECODER.raw_decode(text, at)
    return str(value), end


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None
    return found.end()
