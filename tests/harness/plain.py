"""Runs a program in a rehearsal that nobody records: what the recorder is measured against."""

from __future__ import annotations

import os
import random
import runpy
import sys

from fsdp_migrate.runtime import rehearse


def main() -> None:
    """Run `plain.py script arguments...` as the recorder would."""
    rehearse.prepare_environment()
    rehearse.start(int(os.environ["LOCAL_WORLD_SIZE"]))
    import torch

    seed = int(os.environ["RANK"])
    torch.manual_seed(seed)
    random.seed(seed)
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
