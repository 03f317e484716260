"""Program that runs a config, kills the run at a chosen moment, and reports how it ended.

It imports torch once and forks each run: a restart takes milliseconds. It reads requests from standard input.
``["run", config, moment]`` kills the run at the moment: null (never), a number of seconds, a glob pattern (when a file
matches), or a step and the number of its call (negative: before the call, positive: after it).
``["shards", config, count]`` runs all shards at once.
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
    "map": (store.Run, "put_maps"), "table": (parquet, "copy_table"), "text": (store, "sealed"),
    "rename": (Path, "rename"), "join": (tables, "copy_table"), "csv": (runner, "write_csv"),
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
    """Run a config in the process that may be killed, and exit."""
    catalog = Catalog([
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
        Announcement("processes", "heatproof_processes", "heatproof-processes", "1.0"),
    ])  # fmt: skip
    if isinstance(moment, list):
        die(*moment)
    finished = runner.run(from_plain(config, catalog), catalog, shard=shard)
    os._exit(0 if finished.complete else 3)


def forked(config: dict[str, Any], moment: Any = None, shard: tuple[int, int] = (1, 1)) -> int:
    """Fork a process that runs a config, and return its number."""
    child = os.fork()
    if child == 0:
        attempt(config, moment, shard)
    return child


def ended(child: int) -> int:
    """Wait for a process and return its exit code: 0 complete, 3 other shards are missing, negative: a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(config: dict[str, Any], moment: Any) -> tuple[int, float]:
    """Kill a run at a moment; return its exit code and duration in seconds."""
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
    """Answer each request, a line of JSON on standard input, with a line of JSON."""
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
