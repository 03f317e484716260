"""Jobs for the tests of executors, in a module that worker processes can import."""

import os
import signal
import sys
import time
from pathlib import Path


def work(job: tuple[str, str]) -> tuple[str, int, int]:
    """Do what the job says in a folder of its own; the job, the process and its threads."""
    what, folder = job
    (Path(folder) / f"{what}-{time.time_ns()}").touch()
    if what == "kill" or (what == "kill once" and len([*Path(folder).iterdir()]) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise ValueError("the job cannot be done")
    if what == "wait":
        time.sleep(60)
    return what, os.getpid(), sys.modules["torch"].get_num_threads()
