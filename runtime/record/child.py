"""The main module of a recorded child process; see `children`."""

from __future__ import annotations

import json
import os
import runpy
from typing import Any

from fsdp_migrate.runtime.record.children import MAIN
from fsdp_migrate.runtime.record.program import start
from fsdp_migrate.runtime.record.settings import Settings


def begin() -> dict[str, Any]:
    """Begin the recording and load the program's main module, as multiprocessing does."""
    main = json.loads(os.environ[MAIN])
    start(Settings.inherited(), (), child=True)
    if "init_main_from_name" in main:
        name = main["init_main_from_name"]
        return runpy.run_module(name, run_name="__mp_main__", alter_sys=True)
    if "init_main_from_path" in main:
        return runpy.run_path(main["init_main_from_path"], run_name="__mp_main__")
    return {}


if __name__ == "__mp_main__":
    globals().update(begin())
