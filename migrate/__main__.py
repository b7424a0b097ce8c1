"""`python -m fsdp_migrate`, and the command `fsdp-migrate`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; an interrupt ends it without a traceback, even while it is being loaded."""
    try:
        from fsdp_migrate.cli.main import main as command

        command()
    except KeyboardInterrupt:
        print("fsdp-migrate: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
