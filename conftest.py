"""Before anything is imported: one thread per test process, since several share the cores, and no user's cache."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HEATPROOF_CACHE"] = tempfile.mkdtemp(prefix="heatproof-cache-")
atexit.register(shutil.rmtree, os.environ["HEATPROOF_CACHE"], ignore_errors=True)
