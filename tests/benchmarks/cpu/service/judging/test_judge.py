"""The judge of the service finds every way in which the promise can be broken, and no other."""

import copy
from dataclasses import replace

import pytest

from benchmarks.cpu.service.judging.judge import Found, Report, faults
from benchmarks.cpu.service.senders.studies import Instance

FILES = [Instance(n, f"1.{n}.{k}", bytes([n, k])) for n in range(2) for k in range(3)]
TWIN = Instance(0, "1.0.0", b"other content")


def entry(uid, fate, number):
    why = "" if fate == "used" else "a reason"
    return {"sop_uid": uid, "fate": fate, "why": why, "result": f"study:{number}"}


def good():
    """Study 0 is classified, with a twin that is refused; study 1 is refused."""
    entries = {
        "a": [entry(f"1.0.{k}", "used", 0) for k in range(3)] + [entry("1.0.0", "refused", 0)],
        "b": [entry(f"1.1.{k}", "refused", 1) for k in range(3)],
    }
    report = [{"kind": "sr", "sop_uid": "9.0"}]
    results = [
        {"key": "study:0", "content": "x", "status": "ok", "dicom": report},
        {"key": "study:1", "content": "y", "status": "refused", "dicom": []},
    ]
    studies = [
        {"id": name, "state": "done", "error": "", "received": len(entries[name]), "used": used,
         "left_out": 0, "refused": refused, "results": [result]}
        for name, used, refused, result in (("a", 3, 1, results[0]), ("b", 0, 3, results[1]))
    ]  # fmt: skip
    old = {**results[0], "content": "old", "dicom": [{"kind": "sr", "sop_uid": "9.9"}]}
    reports = [
        Report("9.9", "s", frozenset({"1.0.0"})),
        Report("9.0", "s", frozenset(f"1.0.{k}" for k in range(3)), frozenset({"9.9"})),
    ]
    return Found(studies, entries, copy.deepcopy(entries), [old, *results], reports)


def test_a_kept_promise():
    assert faults([*FILES, TWIN], good(), sent=True) == []


def lose(found):
    found.instances["a"].pop(1)
    found.ledgers["a"].pop(1)
    found.studies[0]["used"] -= 1
    found.studies[0]["received"] -= 1


def list_twice(found):
    for where in (found.instances, found.ledgers):
        where["b"].append(entry("1.0.1", "refused", 1))
    found.studies[1]["refused"] += 1
    found.studies[1]["received"] += 1


BROKEN = {
    "lost": lose,
    "in two studies": list_twice,
    "not done": lambda f: f.studies[0].update(state="queued"),
    "in a result that does not stand": lambda f: f.instances["b"][0].update(result="study:9"),
    "no reason": lambda f: f.instances["b"][0].update(why=""),
    "used, with a reason": lambda f: f.instances["a"][0].update(why="?"),
    "wrong counts": lambda f: f.studies[0].update(used=2),
    "one result in two studies": lambda f: f.studies[1]["results"].extend(f.studies[0]["results"]),
    "used by a refused one": lambda f: f.studies[0]["results"][0].update(status="refused"),
    "another ledger": lambda f: f.ledgers["a"][0].update(fate="left out"),
    "a study of which the door knows nothing": lambda f: f.ledgers.update(c=[]),
    "not in results.jsonl": lambda f: f.lines.pop(),
    "an old line is the last one": lambda f: f.lines.append(f.lines[0]),
    "no report": lambda f: f.reports.pop(),
    "a report twice": lambda f: f.reports.append(f.reports[1]),
    "a report of nothing": lambda f: f.reports.append(Report("8", "s", frozenset())),
    "other evidence": lambda f: f.reports.__setitem__(
        1, replace(f.reports[1], evidence=frozenset())
    ),
    "an old report that nobody replaces": lambda f: f.reports.__setitem__(
        1, replace(f.reports[1], replaced=frozenset())
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_promise(how):
    found = replace(good())
    BROKEN[how](found)
    assert faults([*FILES, TWIN], found, sent=True)


def test_more_was_acknowledged_than_is_listed():
    more = Instance(5, "1.5.0", b"")
    assert [f for f in faults([*FILES, TWIN, more], good(), sent=True) if f.startswith("lost: 1.5")]


def test_a_content_that_was_acknowledged_twice_counts_once():
    assert faults([*FILES, TWIN, *FILES], good(), sent=True) == []


def test_the_other_content_is_missing():
    second = Instance(1, "1.1.0", b"other content")
    assert faults([*FILES, TWIN, second], good(), sent=True)
