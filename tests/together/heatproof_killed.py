"""Runs a config again and again, killed at chosen moments, then once to the end.

It imports everything once and forks each run, so that a kill costs milliseconds and not another import of torch. It
reads requests from standard input: ``["run", config, moment]``, where the moment to kill it is null for never, a number
of seconds, a pattern of which a file must be there, or a step with its number: a negative number dies before and a
positive one after that step; or ``["shards", config, count]``, which runs all parts at once.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from heatproof.config.settings import from_plain
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results import parquet, store
from heatproof.results import scores as tables
from heatproof.run import runner

STEPS = {
    "map": (store.Run, "put_maps"), "table": (parquet, "copy_table"), "text": (store, "_replace"),
    "rename": (store, "_rename"), "join": (tables, "copy_table"), "csv": (runner, "write_csv"),
}  # fmt: skip


def die(name: str, number: int) -> None:
    """Kill this process before or after the given call of a step."""
    owner, attribute = STEPS[name]
    step = getattr(owner, attribute)
    count = [0]

    def stepped(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == -number:
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*arguments)
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, attribute, stepped)


def attempt(config: dict[str, Any], moment: Any, shard: tuple[int, int]) -> None:
    """One run, in the process that may be killed."""
    catalog = Catalog([
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
        Announcement("processes", "heatproof_processes", "heatproof-processes", "1.0"),
    ])  # fmt: skip
    if isinstance(moment, list):
        die(*moment)
    finished = runner.run(from_plain(config, catalog), catalog, shard=shard)
    os._exit(0 if finished.complete else 3)


def forked(config: dict[str, Any], moment: Any = None, shard: tuple[int, int] = (1, 1)) -> int:
    """The number of a process that runs a config."""
    child = os.fork()
    if child == 0:
        attempt(config, moment, shard)
    return child


def ended(child: int) -> int:
    """How a process ended: 0 complete, 3 other shards are missing, negative the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(config: dict[str, Any], moment: Any) -> tuple[int, float]:
    """How a run that is killed at a moment ended, and after how many seconds."""
    start = time.monotonic()
    child = forked(config, moment)
    if isinstance(moment, (int, float)):
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    if isinstance(moment, str):
        while not [*Path(config["output"]).glob(moment)]:
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
    return ended(child), time.monotonic() - start


def main() -> None:
    """Do what standard input asks for, one JSON list per line; answer with one line of JSON each."""
    for line in sys.stdin:
        action, *arguments = json.loads(line)
        if action == "shards":
            config, parts = arguments
            answer: Any = list(map(ended, [forked(config, None, (part + 1, parts)) for part in range(parts)]))
        else:
            answer = killed(*arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
