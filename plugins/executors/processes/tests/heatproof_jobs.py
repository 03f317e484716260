"""Jobs for the tests of executors, in a module that worker processes can import."""

import os
import signal
import sys
import time
from pathlib import Path


def work(job: tuple[str, str]) -> tuple[str, int, int]:
    """Run a job in its folder; return the job's name, the process, and torch's number of threads."""
    name, folder = job
    (Path(folder) / f"{name}-{time.time_ns()}").touch()
    if name == "kill" or (name == "kill once" and len([*Path(folder).iterdir()]) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "raise":
        raise ValueError("the job cannot be done")
    if name == "wait":
        time.sleep(60)
    return name, os.getpid(), sys.modules["torch"].get_num_threads()
