"""Child processes: what they print, how they end, and what ends with them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darnet_trt.machine.processes import last_words, run_child


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def gone(process: int) -> bool:
    """Return whether a process has ended, in a few seconds at most; a zombie has."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_both_streams_come_back_and_each_line_is_heard() -> None:
    code = "import sys; print(input()); print('b'); print('c', file=sys.stderr)"
    heard: list[tuple[str, str]] = []

    ended = run_child(python(code), stdin="a\n", heard=lambda s, line: heard.append((s, line)))

    assert (ended.code, ended.how) == (0, "ended with code 0")
    assert (ended.stdout, ended.stderr) == ("a\nb\n", "c\n")
    assert sorted(heard) == [("stderr", "c\n"), ("stdout", "a\n"), ("stdout", "b\n")]


def test_text_larger_than_a_pipe_goes_in_and_out() -> None:
    text = "0123456789\n" * 50_000

    ended = run_child(["cat"], stdin=text)

    assert ended.stdout == text


def test_a_child_need_not_read_its_input() -> None:
    assert run_child(["true"], stdin="x" * 10**6).code == 0


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("raise SystemExit(3)", "ended with code 3"),
        ("import os; os.abort()", "ended by SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 1)", "ended by signal"),
    ],
)
def test_the_end_has_a_name(code: str, how: str) -> None:
    ended = run_child(python(code))

    assert ended.how.startswith(how)
    assert ended.code != 0


def test_time_runs_out_for_the_child_and_its_children() -> None:
    ended = run_child(["sh", "-c", "sleep 60 & echo $!; wait"], timeout_s=5)

    assert ended.how == "not done in 5 s"
    assert ended.code == -signal.SIGKILL
    assert gone(int(ended.stdout))


def test_time_runs_out_before_the_input_is_read() -> None:
    assert run_child(["sleep", "60"], stdin="x" * 10**6, timeout_s=1).how == "not done in 1 s"


def test_an_exception_ends_the_child_and_its_children() -> None:
    started: list[int] = []

    def heard(stream: str, line: str) -> None:
        started.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(["sh", "-c", "sleep 60 & echo $!; wait"], heard=heard)
    assert gone(started[0])


def test_a_signal_ends_the_child_and_its_children() -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from darnet_trt.machine.processes import run_child\n"
        "run_child(['sh', '-c', 'sleep 60 & echo $!; wait'],"
        " heard=lambda stream, line: print(line, flush=True))"
    )
    process = subprocess.Popen(
        python(code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.communicate()

    assert process.returncode != 0
    assert gone(grandchild)


def test_last_words() -> None:
    assert last_words(["a", " b ", "", "c\n", "d", " "]) == "b | c | d"
    assert last_words([]) == ""
