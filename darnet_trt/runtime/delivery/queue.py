"""The queue of a result folder: what of it is to be sent to whom, and what became of it.

It is a SQLite file in the folder, and holds nothing that the folder's results do not say, apart
from what peers answered. So it may be lost: it is filled again from the results, and what is sent
again is the same object with the same UID, of which a peer keeps one.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from darnet_trt.errors import UsageError
from darnet_trt.runtime.delivery.peers.answers import Answer, Sendable, answer_to_commit
from darnet_trt.runtime.delivery.queue_file import QueueFile

QUEUE: Final = ".darnet-trt.queue"
"""The file's name in a result folder; hidden, so that no walk takes it for a scan."""
BATCH: Final = 128
"""Objects that are taken at once, and sent on one association."""
SHORTEST_S: Final = 10.0
LONGEST_S: Final = 3600.0
"""The pause after the first try that failed, and the longest; each is twice the one before."""
_TO_COMMIT: Final = 8  # times longer are the pauses between requests to commit
_OLD_S: Final = 30 * 86400.0  # after which no answer to a request to commit comes

# `due` is when an object is tried again, or its peer asked again to commit it; null: never.
# fmt: off
_TABLES = """
CREATE TABLE peer (address TEXT PRIMARY KEY, commits INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE object (
    peer TEXT NOT NULL, sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL, file BLOB NOT NULL,
    study BLOB NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL, due REAL,
    words TEXT NOT NULL, PRIMARY KEY (peer, sop_uid)
) WITHOUT ROWID;
CREATE INDEX due ON object (peer, due) WHERE due IS NOT NULL;
CREATE INDEX study ON object (study);
CREATE TABLE filled (mark TEXT NOT NULL);
CREATE TABLE asked (
    transaction_uid TEXT PRIMARY KEY, peer TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID
"""
_WANT = "INSERT OR IGNORE INTO object VALUES (?, ?, ?, ?, ?, 'waiting', 0, ?, '')"
_NOT_SENT = "state IN ('waiting', 'refused')"
_IS = "peer = ? AND sop_uid = ?"
# A clock that was set back must not make an object wait for years.
_DUE = f"""
SELECT state, sop_class, sop_uid, file FROM object
WHERE peer = ? AND (due <= ? OR due > ?) AND state IN ('waiting', ?) ORDER BY due LIMIT {BATCH}
"""
_LATER = f"""
UPDATE object SET tries = tries + 1, due = ? + min(?, ? * (1 << min(tries, 20))) WHERE {_IS}
"""
_AWAITED = "SELECT count(*) FROM object WHERE peer = ? AND state = 'sent' AND due IS NOT NULL"
_MOST = """
SELECT words FROM object WHERE peer = ? AND state = ? AND words != ''
GROUP BY words ORDER BY count(*) DESC, words LIMIT 1
"""
# fmt: on


@dataclass(frozen=True)
class Entry:
    """An object of a result.

    Attributes:
        study: The result's key.
        sop_class: Its SOPClassUID.
        sop_uid: Its SOPInstanceUID.
        file: Its file, relative to the folder.
    """

    study: str
    sop_class: str
    sop_uid: str
    file: str

    def row(self) -> tuple[str, str, bytes, bytes]:
        """Return its columns; names of files need not be UTF-8."""
        return self.sop_uid, self.sop_class, _bytes(self.file), _bytes(self.study)


@dataclass(frozen=True)
class Tally:
    """Says how far the deliveries to a peer are.

    Attributes:
        now: State → how many objects came to it since the queue was opened.
        all: State → how many objects are in it.
        why_refused: What the peer said most often to those that it refused.
        why_waiting: The same of those that are tried again.
        next_s: When that is, in seconds since 1970; None: no object waits.
        awaited: Objects that the peer was asked to commit, and has not.
    """

    now: Counter[str]
    all: Counter[str]
    why_refused: str
    why_waiting: str
    next_s: float | None
    awaited: int


class Queue:
    """A folder's queue; use it in a `with` statement. The folder's lock keeps others out.

    Every change is in the file when its call returns, and so survives the end of this process.

    Args:
        folder: The result folder.
        notify: Called with a line where the old file could not be used.

    Raises:
        OutputError: It cannot be kept in the folder, or a change cannot.
    """

    def __init__(self, folder: Path, notify: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder
        self._file = QueueFile(folder / QUEUE, _TABLES, notify)
        self._now: dict[str, Counter[str]] = {}

    def peers(self) -> list[str]:
        """Return the addresses of all peers."""
        return [row[0] for row in self._file.do("SELECT address FROM peer ORDER BY address")]

    def add_peer(self, peer: str, *, commits: bool = True) -> None:
        """Add a peer; it gets all that `fill` and `add` take afterwards.

        Args:
            peer: Its address.
            commits: Whether it may offer storage commitment.
        """
        if peer not in self.peers():
            with self._file.change() as db:
                db.execute("INSERT INTO peer VALUES (?, ?)", (peer, commits))
                db.execute("DELETE FROM filled")

    def drop_peer(self, peer: str) -> None:
        """Forget a peer, and what became of each object that it was to get.

        Raises:
            UsageError: It is no peer of this folder.
        """
        if peer not in (peers := self.peers()):
            raise UsageError(
                f"{peer} is no peer of this folder",
                where=self.folder,
                do=f"choose from {', '.join(peers)}" if peers else "leave it out: there are none",
            )
        with self._file.change() as db:
            for table, column in (("object", "peer"), ("asked", "peer"), ("peer", "address")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (peer,))

    def is_filled(self, mark: str) -> bool:
        """Return whether `fill` was last called with this mark, and no peer was added since."""
        return self._file.do("SELECT mark FROM filled") == [(mark,)]

    def fill(self, entries: Iterable[Entry], mark: str = "") -> None:
        """Take all objects of the results that stand.

        Each peer is to get those that are new to it. What was not sent, and stands no longer, is
        dropped.

        Args:
            entries: The objects.
            mark: What changes when the results do.
        """
        with self._file.change() as db:
            db.execute("DELETE FROM filled")
            db.execute("INSERT INTO filled VALUES (?)", (mark,))
            db.execute("CREATE TEMP TABLE wanted (sop_uid TEXT PRIMARY KEY, file BLOB)")
            now, peers = time.time(), self.peers()
            for each in entries:
                file = _bytes(each.file)
                db.execute("INSERT OR REPLACE INTO wanted VALUES (?, ?)", (each.sop_uid, file))
                for peer in peers:
                    db.execute(_WANT, (peer, *each.row(), now))
                    db.execute(
                        f"UPDATE object SET file = ? WHERE {_IS} AND file != ?",
                        (file, peer, each.sop_uid, file),
                    )
            none = "sop_uid NOT IN (SELECT sop_uid FROM wanted)"
            db.execute(f"DELETE FROM object WHERE {_NOT_SENT} AND {none}")
            db.execute("DROP TABLE wanted")

    def add(self, study: str, entries: Sequence[Entry]) -> None:
        """Take the objects of a new result in place of those of the study's old one."""
        with self._file.change() as db:
            now = time.time()
            rows = [(peer, *each.row(), now) for peer in self.peers() for each in entries]
            db.executemany(_WANT, rows)
            kept = {each.sop_uid for each in entries}
            of_it = f"SELECT DISTINCT sop_uid FROM object WHERE study = ? AND {_NOT_SENT}"
            gone = [row for row in db.execute(of_it, (_bytes(study),)) if row[0] not in kept]
            db.executemany(f"DELETE FROM object WHERE sop_uid = ? AND {_NOT_SENT}", gone)

    def retry(self) -> None:
        """Have all that was not sent tried again at once, also what was refused."""
        now = time.time()
        self._file.do(f"UPDATE object SET state = 'waiting', due = ? WHERE {_NOT_SENT}", now)

    def want_commitment(self) -> None:
        """Have the peers asked to commit what they only stored, unless they commit nothing."""
        self._file.do(
            "UPDATE object SET due = ? WHERE state = 'sent' AND due IS NULL "
            "AND peer IN (SELECT address FROM peer WHERE commits)",
            time.time(),
        )

    def due(self, peer: str, *, commits: bool) -> tuple[list[Sendable], list[Sendable]]:
        """Return objects that are to be sent to a peer now, and those that it is to commit now.

        Args:
            peer: Its address.
            commits: Whether peers are asked to commit.
        """
        now, states = time.time(), "sent" if commits else "waiting"
        found: dict[str, list[Sendable]] = {"waiting": [], "sent": []}
        for state, sop_class, sop_uid, file in self._file.do(
            _DUE, peer, now, now + _TO_COMMIT * LONGEST_S, states
        ):
            path = self.folder / file.decode("utf-8", "surrogateescape")
            found[state].append(Sendable(sop_class, sop_uid, path))
        return found["waiting"], found["sent"]

    def awaits(self, peer: str) -> bool:
        """Return whether a peer has been asked to commit something, and has not answered."""
        query = "SELECT 1 FROM object WHERE peer = ? AND state = 'sent' AND due > ? LIMIT 1"
        return bool(self._file.do(query, peer, time.time()))

    def next_due(self, peer: str, *, commits: bool) -> float | None:
        """Return when an object is due next, in seconds since 1970; None: never."""
        query = "SELECT min(due) FROM object WHERE peer = ? AND state IN ('waiting', ?)"
        found: float | None = self._file.do(query, peer, "sent" if commits else "waiting")[0][0]
        return found

    def note(self, peer: str, answer: Answer, *, commits: bool = False) -> None:
        """Note what became of an object.

        Args:
            peer: The peer's address.
            answer: Its answer.
            commits: Whether the peer is to be asked to commit what it stored.
        """
        if answer.state == "waiting":
            self.put_off(peer, [answer.sop_uid], answer.words)
            return
        due = time.time() if answer.state == "sent" and commits else None
        self._file.do(
            f"UPDATE object SET state = ?, words = ?, due = ?, tries = 0 WHERE {_IS}",
            *(answer.state, answer.words, due, peer, answer.sop_uid),
        )
        self._now.setdefault(peer, Counter())[answer.state] += 1

    def put_off(self, peer: str, sop_uids: Collection[str], words: str) -> None:
        """Have objects tried again, after a pause that grows with each try.

        Args:
            peer: The peer's address.
            sop_uids: Their SOPInstanceUIDs.
            words: Why they wait.
        """
        with self._file.change() as db:
            say = f"UPDATE object SET state = 'waiting', words = ? WHERE {_IS}"
            db.executemany(say, [(words, peer, each) for each in sop_uids])
            db.executemany(_LATER, [(*_pause(1), peer, each) for each in sop_uids])

    def asked(self, peer: str, transaction: str, sop_uids: Collection[str]) -> None:
        """Note a request to commit, before it is made: its answer may come at once.

        Args:
            peer: The peer's address.
            transaction: TransactionUID (0008,1195) of the request.
            sop_uids: SOPInstanceUIDs of the objects.
        """
        with self._file.change() as db:
            now = time.time()
            db.execute("DELETE FROM asked WHERE at < ?", (now - _OLD_S,))
            db.execute("INSERT INTO asked VALUES (?, ?, ?)", (transaction, peer, now))
            self.ask_later(peer, sop_uids)

    def ask_later(self, peer: str, sop_uids: Collection[str]) -> None:
        """Have a peer asked to commit objects after a pause that grows with each time."""
        with self._file.change() as db:
            later = [(*_pause(_TO_COMMIT), peer, each) for each in sop_uids]
            db.executemany(f"{_LATER} AND state = 'sent'", later)

    def committed(self, transaction: str, done: Sequence[str], failed: Mapping[str, int]) -> None:
        """Note the answer to a request to commit; an answer to no request of ours is ignored.

        Args:
            transaction: TransactionUID (0008,1195) of the request.
            done: SOPInstanceUIDs that the peer commits itself to keep.
            failed: SOPInstanceUID → FailureReason (0008,1197), where it does not.
        """
        with self._file.change() as db:
            asked = "SELECT peer FROM asked WHERE transaction_uid = ?"
            for (peer,) in db.execute(asked, (transaction,)).fetchall():
                sent = f"SELECT 1 FROM object WHERE {_IS} AND state = 'sent'"
                answers = [answer_to_commit(each, reason) for each, reason in failed.items()]
                answers += [Answer(each, "committed") for each in done if each not in failed]
                for answer in answers:
                    if db.execute(sent, (peer, answer.sop_uid)).fetchone():
                        self.note(peer, answer)

    def commits_nothing(self, peer: str) -> None:
        """Note that a peer offers no storage commitment: it is asked no more for what it has."""
        with self._file.change() as db:
            db.execute("UPDATE peer SET commits = 0 WHERE address = ?", (peer,))
            db.execute("UPDATE object SET due = NULL WHERE peer = ? AND state = 'sent'", (peer,))

    def tally(self, peer: str) -> Tally:
        """Return how far the deliveries to a peer are."""
        count = "SELECT state, count(*) FROM object WHERE peer = ? GROUP BY state"
        return Tally(
            now=Counter(self._now.get(peer, {})),
            all=Counter(dict(self._file.do(count, peer))),
            why_refused="".join(row[0] for row in self._file.do(_MOST, peer, "refused")),
            why_waiting="".join(row[0] for row in self._file.do(_MOST, peer, "waiting")),
            next_s=self.next_due(peer, commits=False),
            awaited=self._file.do(_AWAITED, peer)[0][0],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        self._file.close()


def _pause(times: int) -> tuple[float, float, float]:
    """Return now in seconds since 1970, and the longest and the shortest pause in seconds.

    Half of a pause is chance, so that not all objects of all machines come back at once.

    Args:
        times: How many times longer than between tries.
    """
    part = (0.5 + random.random() / 2) * times
    return time.time(), LONGEST_S * part, SHORTEST_S * part


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
