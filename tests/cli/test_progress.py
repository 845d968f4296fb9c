"""Progress is a bar on a terminal and a few lines elsewhere; stdout stays clean."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

import pytest

from darnet_trt.cli.progress import LOG_LINES, progress
from tests.cli.command import COMMAND


def test_a_log_gets_a_few_lines(capsys):
    with progress("reading", 100) as advance:
        for _ in range(100):
            advance(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == LOG_LINES
    assert "reading: 25 of 100" in err.splitlines()[0]
    assert "reading: 100 of 100" in err.splitlines()[-1]


def on_a_terminal(columns: int, kind: str, *words: object) -> tuple[str, str]:
    """Run the command with stderr on a terminal; return stdout and stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    surroundings = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [COMMAND, *map(str, words)],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True,
        env={**surroundings, "TERM": kind},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0, shown
    return out, shown.decode()


@pytest.mark.parametrize("columns", [40, 120])
def test_a_terminal_gets_a_bar_that_fits(tmp_path, columns):
    words = ("phantom", tmp_path / "c", "--scans", 2, "--matrix", 48, "--slices", 30)
    out, shown = on_a_terminal(columns, "xterm", *words)
    assert out.count("\n") == 1
    assert str(tmp_path / "c" / "cohort.csv") in out
    assert "\x1b" not in out
    assert "2/2" in shown
    assert shown.count("\n") == 1, "it moved to another line"


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(tmp_path):
    words = ("phantom", tmp_path / "c", "--scans", 2, "--matrix", 48, "--slices", 30)
    _, shown = on_a_terminal(80, "dumb", *words)
    assert "\x1b" not in shown
    assert "2 of 2" in shown
