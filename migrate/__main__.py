"""`python -m fsdp_migrate` is the command `fsdp-migrate`."""

from fsdp_migrate.cli.main import main

if __name__ == "__main__":
    main()
