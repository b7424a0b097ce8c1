"""Trains made-up programs before and after their migration, and prints what became of them.

python tests/differential.py --count 300          # as many as you like
python tests/differential.py --seed 7 --keep bad  # others; what trains otherwise goes to bad/
python tests/differential.py --with "use=data" --with "place=method"  # all of one kind
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parent))
from support.fuzz.differential import Judged, Judgement, judge
from support.fuzz.judgement import warns
from support.fuzz.programs import Made, trained_programs


def main() -> int:
    """Run them; the exit code is 1 if any came out otherwise in silence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for programs that come out otherwise")
    parser.add_argument("--with", dest="pieces", action="append", default=[], metavar="PART=NAME")
    given_arguments = parser.parse_args()
    pieces = dict(piece.split("=", 1) for piece in given_arguments.pieces)
    found: collections.Counter[Judgement] = collections.Counter()

    def one(made: Made) -> None:
        judged = judge(made)
        found[judged.judgement] += 1
        if judged.judgement is not Judgement.SAME:
            _print(sum(found.values()), judged)
        if given_arguments.keep and judged.judgement not in {Judgement.SAME, Judgement.REFUSED}:
            _keep(judged, given_arguments.keep / f"{sum(found.values()):04}")

    quiet = settings(
        max_examples=given_arguments.count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(given_arguments.seed)(quiet(given(trained_programs(pieces))(one)))()
    for judgement, count in found.most_common():
        print(f"{count:5} {judgement.value}")
    return int(bool(found[Judgement.SILENT]))


def _print(number: int, judged: Judged) -> None:
    codes = sorted({item.code for item in judged.run.findings})
    print(f"{number:4} {judged.judgement.name} [{judged.made}] {' '.join(codes)}", flush=True)
    for item in judged.run.findings:
        if warns(item) and "held back" not in item.message:
            print(
                f"       {item.path.name}:{item.line} {item.code} {item.tier.value}: {item.message}"
            )
    print("       " + "\n       ".join(judged.why.splitlines()[:6]), flush=True)


def _keep(judged: Judged, folder: Path) -> None:
    for kind, files in (("old", judged.run.before), ("new", judged.run.after)):
        for name, text in files.items():
            path = folder / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    said = "\n".join(map(str, judged.run.findings))
    (folder / "report.txt").write_text(f"{judged.made}\n{said}\n{judged.why}\n")


if __name__ == "__main__":
    sys.exit(main())
