"""Every case through the command line: `fsdp-migrate verify` has to say what `case.toml` expects.

    python tests/verify_cases.py fixtures/programs/* fixtures/exam/*

The other tests train in forks of a warm process; here each version is started with torchrun (or
as the program says, with `launch = "python"`), as a user starts it.  About half a minute a case.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WORDS = {0: "passed", 1: "different", 2: "could not run"}


def command(case: dict[str, Any]) -> list[str]:
    """The command line for a case, in whose folder it is started."""
    words = [sys.executable, "-m", "fsdp_migrate", "verify", "--device", "cpu"]
    words += ["--nproc", str(case.get("nproc", 2))]
    words += ["--launcher", case.get("launch", "torchrun")]
    words += ["--collectives", case.get("comm", "same")]
    if "gpus_per_node" in case:
        words += ["--gpus", str(case["gpus_per_node"])]
    if case["expect"] == "close":
        words += ["--rtol", str(case.get("rtol", 1e-4)), "--atol", str(case.get("atol", 1e-6))]
    if "timeout" in case:
        words += ["--timeout", str(case["timeout"])]
    for pattern in case.get("ignore_stdout", []):
        words += ["--ignore-line", pattern]
    words += ["--no-files"] if case.get("files") == "skip" else []
    words += ["--no-stdout"] if case.get("stdout") == "skip" else []
    words += ["-m", case["module"]] if "module" in case else [case.get("script", "train.py")]
    return [*words, "--", *map(str, case.get("args", []))]


def judge(folder: Path) -> tuple[bool, str]:
    """Whether `verify` says what is expected, and what it says."""
    case = tomllib.loads((folder / "case.toml").read_text())
    done = subprocess.run(
        command(case),
        cwd=folder,
        env={**os.environ, **{name: str(value) for name, value in case.get("env", {}).items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    headline = next((x for x in done.stdout.splitlines() if re.match(r"[A-Z ]+:", x)), "")
    said = headline or done.stderr.strip().splitlines()[-1]
    reported = all(
        f"{site['file']}:{number} " in done.stderr
        for site in (*case.get("manual", []), *case.get("or_report", []))
        for number, line in enumerate((folder / site["file"]).read_text().splitlines(), 1)
        if site["contains"] in line
    )
    if case["expect"] == "manual":
        return reported, f"reported; {WORDS[done.returncode]}" if reported else said
    if done.returncode and case.get("or_report"):
        return reported, f"reported; {said}"
    right = done.returncode == 0 and (case["expect"] == "close" or "IDENTICAL" in headline)
    if right:
        return True, said
    return False, f"{said}\n{done.stdout}\n{done.stderr[-2000:]}"


def main(folders: list[str]) -> int:
    """Print a line for each case; the exit code is 0 if all are as expected."""
    wrong = 0
    for folder in map(Path, folders):
        begin = time.monotonic()
        right, said = judge(folder.resolve())
        wrong += not right
        mark = "ok" if right else "WRONG"
        print(f"{mark:<6}{folder.name:<36}{time.monotonic() - begin:5.0f} s  {said}", flush=True)
    print(f"{len(folders) - wrong} of {len(folders)} as expected")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
