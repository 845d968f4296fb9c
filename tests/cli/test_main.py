"""Every mistake on the command line is one line on stderr and exit code 2."""

import pytest
from command import darnet_trt


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["doctor", "--nope"], "No such option: --nope; see 'darnet-trt doctor --help'"),
        (["nope"], "No such command 'nope'; see 'darnet-trt --help'"),
        (["inspect"], "Missing argument 'paths'; see 'darnet-trt inspect --help'"),
        (["inspect", "/no/such/scan"], "/no/such/scan"),
        (["predict", "/no/such/bundle", "/no/such/scan"], "/no/such/bundle"),
        (["build", "/no/such/run", "-o", "/tmp/never"], "/no/such/run"),
    ],
)
def test_a_mistake_is_one_line(arguments, says):
    done = darnet_trt(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_debug_shows_the_traceback_wherever_it_stands():
    for arguments in (["--debug", "export", "/no/such"], ["export", "/no/such", "--debug"]):
        assert "Traceback" in darnet_trt(*arguments).stderr


def test_version_and_bare_call_answer():
    assert darnet_trt("--version").stdout.startswith("darnet-trt ")
    bare = darnet_trt()
    assert bare.returncode == 0
    assert "predict" in bare.stdout
