"""Before anything is imported: one thread per test process, since several processes share the cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
