"""Read and run the commands that a page of the documentation prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands(page, section=""):
    """The words of each `$ darnet-trt …` on a page, or below one of its `##` headings."""
    text = (ROOT / page).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [shlex.split(line) for line in re.findall(r"^\$ (darnet-trt .*)$", text, re.M)]


def run_each(found, folder):
    """Run commands in their order, in a folder; each must end well."""
    for words in found:
        program = Path(sys.executable).with_name(words[0])
        done = subprocess.run([program, *words[1:]], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)
