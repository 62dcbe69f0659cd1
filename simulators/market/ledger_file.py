"""The file of a ledger: one SQLite table of bodies, number 0 the genesis, that only grows.

A body is there when `add` returns, if the machine stops at that moment (WAL, synchronous=FULL). Triggers refuse
changes; they keep mistakes out, not attackers: against these stands the verification of what is read.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from gridloop.simulators.market.ledger import LedgerError

APPLICATION = 0x676C_6C64  # 'glld': what `file` and we know such a file by
TABLE = """
CREATE TABLE blocks (number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TRIGGER no_update BEFORE UPDATE ON blocks BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
CREATE TRIGGER no_delete BEFORE DELETE ON blocks BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
"""


class LedgerFile:
    """Bodies by number. `path` None keeps them in memory."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection, self._path = connection, path

    @classmethod
    def create(cls, path: Path | None, genesis: bytes) -> "LedgerFile":
        """A new file; FileExistsError rather than another ledger's end."""
        if path is not None:
            path.touch(exist_ok=False)
        connection = sqlite3.connect(path or ":memory:", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        for statement in TABLE.strip().splitlines():
            connection.execute(statement)
        connection.execute("INSERT INTO blocks VALUES (0, ?)", (genesis,))
        connection.execute("COMMIT")
        return cls(connection, path)

    @classmethod
    def open(cls, path: Path, read_only: bool = False) -> "LedgerFile":
        """A file that is there; ValueError if it is not one of ours."""
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file")
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None)
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA query_only={int(read_only)}")
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: not a ledger's file: {error}") from error
        if application != APPLICATION:
            raise ValueError(f"{path}: not a ledger's file")
        return cls(connection, path)

    def add(self, number: int, body: bytes) -> None:
        """Keep a body for good."""
        try:
            self._connection.execute("INSERT INTO blocks VALUES (?, ?)", (number, body))
        except sqlite3.IntegrityError as error:
            raise LedgerError(f"{self._path}: block {number} is there already: somebody else writes too") from error

    def bodies(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Numbers and bodies from a number on, each read when it is asked for."""
        row = self._first(start)
        while row is not None:
            yield row
            row = self._first(row[0] + 1)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _first(self, start: int) -> tuple[int, bytes] | None:
        question = "SELECT number, body FROM blocks WHERE number >= ? ORDER BY number LIMIT 1"
        try:
            row: tuple[int, bytes] | None = self._connection.execute(question, (start,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise LedgerError(f"{self._path}: {error}") from error
        return row
