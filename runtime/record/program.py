"""Run a script or module in this process, recorded."""

from __future__ import annotations

import os
import runpy
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsdp_migrate.runtime import recording, rehearse
from fsdp_migrate.runtime.record.settings import Settings

if TYPE_CHECKING:
    from fsdp_migrate.runtime.record.recorder import Recorder


class CannotRun(Exception):
    """The program cannot be recorded as asked for."""


def run(settings: Settings, program: Sequence[str]) -> None:
    """Run `[-m] program arguments...` and record it; raises what the program raises."""
    as_module = program[0] == "-m"
    target, *arguments = program[1:] if as_module else program
    files = str(recording.files_folder(settings.out))
    arguments = [argument.replace("{out}", files) for argument in arguments]
    if any(files in argument for argument in arguments):
        Path(files).mkdir(parents=True, exist_ok=True)
    recorder = start(settings, (*program[: len(program) - len(arguments)], *arguments))
    sys.argv = [target, *arguments]
    sys.path[0] = os.getcwd() if as_module else str(Path(target).resolve().parent)
    error: str | None = None
    try:
        if as_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(target, run_name="__main__")
    except SystemExit as stop:
        error = f"sys.exit({stop.code!r})" if stop.code else None
        raise
    except BaseException as failure:
        error = f"{type(failure).__name__}: {failure}"
        raise
    finally:
        recorder.finish(error)


def start(settings: Settings, arguments: tuple[str, ...]) -> Recorder:
    """Choose the device, begin the rehearsal if there is one, and install the recorder."""
    device = _device(settings)
    if device == "rehearsal":
        rehearse.prepare_environment()
        rehearse.start(settings.gpus or int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
        warnings.filterwarnings("ignore", module=r"torch\.")
    from fsdp_migrate.runtime.record.recorder import Recorder

    recorder = Recorder(settings, arguments, device)
    if device == "rehearsal":
        recorder.notes.update(rehearse.NOTES)
    recorder.install()
    return recorder


def _device(settings: Settings) -> str:
    """The name of the GPU that is used, or "rehearsal"."""
    if settings.device != "cpu":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
        if settings.device == "cuda":
            raise CannotRun("--device cuda: this machine has no CUDA device")
    return "rehearsal"
