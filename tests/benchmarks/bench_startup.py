"""How long it takes until the command says something: python tests/benchmarks/bench_startup.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ratios import best, python, show


def main() -> None:
    """Compare with importing click, which any command line with click has to do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.py")
        path.write_text("import torch\n")
        sides = {
            "fsdp-migrate --help": python("-m", "fsdp_migrate", "--help"),
            "fsdp-migrate --version": python("-m", "fsdp_migrate", "--version"),
            "fsdp-migrate, a file without FSDP1": python("-m", "fsdp_migrate", "-q", str(path)),
            "fsdp-migrate rules": python("-m", "fsdp_migrate", "rules"),
            "import libcst": python("-c", "import libcst"),
            "import click": python("-c", "import click"),
        }
        show("Start-up", best(sides, rounds=15))


if __name__ == "__main__":
    main()
