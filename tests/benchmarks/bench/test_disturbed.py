"""The script that shows what another process does to times, for two windows."""

import subprocess
import sys
from pathlib import Path


def test_it_shows_the_windows_by_what_others_took():
    words = [sys.executable, "-m", "benchmarks.bench.disturbed", "--windows", "2"]
    root = Path(__file__).parents[3]
    ended = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    _, _, *rows, watcher = ended.stdout.splitlines()
    assert sum(int(row.split("|")[2]) for row in rows) == 2
    assert watcher.startswith("the watcher took")
