"""What becomes of each constructor call in whole repositories, as a table in Markdown.

python tests/benchmarks/constructor_calls.py FOLDER...

A call is native when no name of the runtime is in what it becomes; it has a residue when a
function of the runtime takes one of its arguments; it is whole when `fully_shard_from_fsdp1`
takes all of them; and it is left when a place that nobody can change holds it back.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

KINDS = ("native", "residue", "whole", "left")
CALL = "FSDP101"
WIDTH = 200


def main(folders: list[str]) -> None:
    """Print a row a repository, the sums, and the residues by their function."""
    total: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    print(f"| repository | {' | '.join(KINDS)} | not native, by call |")
    print("| --- " * (len(KINDS) + 2) + "|")
    for folder in sorted(map(Path, folders)):
        calls = [call for call in _findings(folder) if call["code"] == CALL and _is_call(call)]
        kinds = [_kind(call) for call in calls]
        total.update(kinds)
        for call, kind in zip(calls, kinds, strict=True):
            if kind == "residue":
                functions.update(set(re.findall(r"with (\w+)\(\)", call["message"])))
        reasons = [_reason(call, folder) for call in calls if _kind(call) != "native"]
        counts = " | ".join(str(kinds.count(kind)) for kind in KINDS)
        print(f"| {folder.name} | {counts} | {'<br>'.join(dict.fromkeys(reasons))} |", flush=True)
    print(f"| sum | {' | '.join(str(total[kind]) for kind in KINDS)} | |")
    calls_in_all = max(sum(total.values()), 1)
    print()
    print(", ".join(f"{kind} {total[kind] / calls_in_all:.0%}" for kind in KINDS))
    print(", ".join(f"{name} {n}" for name, n in functions.most_common()))


def _findings(folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "fsdp_migrate", str(folder), "--output-format", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if not run.stdout:
        raise SystemExit(f"{folder}: {run.stderr}")
    findings: list[dict[str, Any]] = json.loads(run.stdout)["findings"]
    return findings


def _is_call(found: dict[str, Any]) -> bool:
    return found["tier"] != "note"


def _kind(call: dict[str, Any]) -> str:
    if call["tier"] == "manual" or call["held_back_by"]:
        return "left"
    if call["tier"] == "native":
        return "native"
    return "whole" if "fully_shard_from_fsdp1" in call["message"] else "residue"


def _reason(call: dict[str, Any], folder: Path) -> str:
    words = call["message"].replace("|", "\\|")
    if held := call["held_back_by"]:
        words = f"held back by {held}"
    place = Path(call["path"])
    place = place.relative_to(folder) if place.is_relative_to(folder) else place
    words = f"{place}:{call['line']}: {words}"
    return words if len(words) <= WIDTH else words[: WIDTH - 3] + "..."


if __name__ == "__main__":
    main(sys.argv[1:])
