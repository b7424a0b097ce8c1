"""The recorder as a module that any launcher can start on any number of nodes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from fsdp_migrate.runtime import rehearse
from fsdp_migrate.runtime.record.settings import Settings, steps


def parse(arguments: list[str]) -> tuple[Settings, list[str]]:
    """The settings and the program with its arguments."""
    options = _parser().parse_args(arguments)
    settings = Settings(
        out=options.out.resolve(),
        device=options.device,
        deterministic=options.deterministic_reductions,
        keep=options.keep_tensors,
        gpus=options.gpus,
        seed=options.seed,
        paths=tuple(path.resolve() for path in options.path),
        forbidden=options.forbid.resolve() if options.forbid else None,
        watched=options.watch.resolve() if options.watch else None,
        dump_at=options.dump_at,
    )
    module = ["-m"] if options.module else []
    return settings, [*module, options.program, *options.arguments]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fsdp_migrate.runtime.record",
        usage="%(prog)s --out DIR [options] (train.py | -m module) [arguments]",
        description="Run a training program unchanged and record what it trains, rank by rank.",
        epilog="{out} in the arguments of the program is replaced by DIR/files.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the recording")
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto")
    parser.add_argument(
        "--deterministic-reductions",
        action="store_true",
        help="sum over ranks in rank order, so that runs on many ranks compare bit by bit",
    )
    parser.add_argument(
        "--keep-tensors",
        metavar="STEPS",
        type=steps,
        help="keep the full tensors of these optimizer steps: 7, 3-9 or all",
    )
    parser.add_argument("--gpus", type=int, help="devices that a rehearsed program sees")
    parser.add_argument(
        "--seed", type=int, help="seed the generators before the program does: N + rank"
    )
    parser.add_argument(
        "--path", type=Path, action="append", default=[], help="look for modules there first"
    )
    parser.add_argument("--forbid", type=Path, help="fail if a module is imported from there")
    parser.add_argument("--watch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--dump-at", type=float, metavar="TIME", help="say where the program is, if it still runs"
    )
    parser.add_argument("-m", dest="module", action="store_true", help="run a module")
    parser.add_argument("program", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run the program that the command line names."""
    settings, program = parse(sys.argv[1:])
    if settings.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a rehearsal leaves GPUs alone
        rehearse.prepare_environment()
    else:  # without it, cuBLAS may give other bits when it runs again
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    from fsdp_migrate.runtime.record.program import CannotRun, run

    try:
        run(settings, program)
    except CannotRun as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
