import hashlib
import hmac
import os
import stat
import subprocess
import sys

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.prediction.results.pseudonyms import FIELDS, Pseudonyms
from tests.runtime.prediction.results.test_result import result

PATIENT = {"patient_id": "4711", "accession_number": "4711", "study_date": "20260102"}


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config/darnet-trt"


def hidden(pseudonyms, **patient):
    found = pseudonyms.applied(result(**{**PATIENT, **patient}))
    assert found.pseudonymous
    return tuple(getattr(found, field) for field in FIELDS)


def test_the_key_makes_the_same_pseudonyms_on_another_machine(tmp_path, config):
    here = Pseudonyms()
    (tmp_path / "key").write_bytes(here.key())
    assert hidden(Pseudonyms(tmp_path / "key")) == hidden(here)
    assert (config / "pseudonyms.key").read_bytes().strip() == here.key()


def test_a_key_that_cannot_be_kept_is_not_given_on(tmp_path, config):
    config.parent.write_bytes(b"a file")
    with pytest.raises(UsageError, match="name one with --pseudonym-key"):
        Pseudonyms().key()


def test_a_pseudonym_is_the_documented_hash(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"a secret of some length\n")
    full = hmac.new(b"a secret of some length", b"patient_id\0" + b"4711", hashlib.sha256)
    assert hidden(Pseudonyms(key))[0] == full.hexdigest()[:16]


def test_the_same_patient_is_the_same_in_every_run(config):
    assert hidden(Pseudonyms()) == hidden(Pseudonyms())
    assert len({*hidden(Pseudonyms()), *hidden(Pseudonyms(), patient_id="4712")}) == 4
    assert [f.name for f in config.iterdir()] == ["pseudonyms.key"]
    assert stat.S_IMODE((config / "pseudonyms.key").stat().st_mode) == 0o600


def test_another_key_gives_other_pseudonyms(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(f"{name * 64}\n")
    assert not {*hidden(Pseudonyms(tmp_path / "a"))} & {*hidden(Pseudonyms(tmp_path / "b"))}


def test_what_is_absent_stays_absent_and_needs_no_key(config):
    assert hidden(Pseudonyms(), **dict.fromkeys(PATIENT)) == (None, None, None)
    assert hidden(Pseudonyms(), **dict.fromkeys(PATIENT, "")) == (None, None, None)
    assert not config.exists()


def test_pseudonyms_are_not_hashed_again():
    once = Pseudonyms().applied(result(**PATIENT))
    assert Pseudonyms().applied(once) == once


@pytest.mark.parametrize("obstacle", ["file in the way", "empty key", "folder in its place"])
def test_without_a_key_there_is_nothing_and_one_warning(config, obstacle):
    config.parent.mkdir()
    if obstacle == "file in the way":
        config.write_text("")
    elif obstacle == "empty key":
        config.mkdir()
        (config / "pseudonyms.key").write_text("\n")
    else:
        (config / "pseudonyms.key").mkdir(parents=True)
    said = []
    pseudonyms = Pseudonyms(notify=said.append)
    assert hidden(pseudonyms) == hidden(pseudonyms) == (None, None, None)
    assert len(said) == 1
    assert "\n" not in said[0]


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 5000, "folder"])
def test_a_named_key_that_is_none_is_refused(tmp_path, content):
    key = tmp_path / "key"
    if content == "folder":
        key.mkdir()
    elif content is not None:
        key.write_bytes(content)
    with pytest.raises(UsageError, match="key"):
        Pseudonyms(key)


def test_processes_that_start_together_have_one_key(tmp_path):
    program = (
        "from tests.runtime.prediction.results.test_pseudonyms import Pseudonyms, hidden\n"
        "print(*hidden(Pseudonyms()))"
    )
    command = [sys.executable, "-c", program]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) for _ in range(3)]
    assert len({child.communicate()[0] for child in started}) == 1


def test_text_of_any_kind_has_a_pseudonym():
    odd = hidden(Pseudonyms(), patient_id="M\u00fcller^\udcff\0")[0]
    assert len(odd) == 16
