"""Lets worker processes import the jobs of the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # worker processes inherit it
