"""The journal's tables and how SQLite keeps them."""

from __future__ import annotations

VERSION = 2
SCHEMA = (
    """CREATE TABLE meta (  -- `version` repeats user_version: a flipped bit in one is not taken for another format;
        -- `run` says which run it belongs to, behind its CRC-32
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    )""",
    """CREATE TABLE shards (  -- the boundaries of every shard ever opened
        number INTEGER PRIMARY KEY,
        first_row INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER,         -- of its part, once it is sealed
        file_crc INTEGER,      -- CRC-32 of its part
        sums TEXT,             -- JSON, by group of the cost summary
        crc INTEGER NOT NULL   -- of this line
    )""",
    """CREATE TABLE results (  -- settled rows that are in no part
        row INTEGER PRIMARY KEY,
        body BLOB NOT NULL,    -- values.Result as MessagePack
        crc INTEGER NOT NULL   -- of row and body
    )""",
    """CREATE TABLE spent (  -- what rows without a result have cost so far
        row INTEGER PRIMARY KEY,
        body BLOB NOT NULL,    -- summary.Spent as MessagePack
        crc INTEGER NOT NULL
    )""",
    """CREATE TABLE sessions (  -- one line per run
        number INTEGER PRIMARY KEY,
        started_us INTEGER NOT NULL,
        clean INTEGER NOT NULL,    -- 0 while it runs, and for ever if it was killed
        at_risk INTEGER NOT NULL,  -- most requests whose answers a kill loses
        commits INTEGER NOT NULL   -- tells after an error whether the transaction reached the disk all the same
    )""",
)
STAMPS = """CREATE TABLE IF NOT EXISTS stamps (  -- by which a part that has not been touched is known
    number INTEGER PRIMARY KEY,
    file_crc INTEGER NOT NULL,
    stamp TEXT NOT NULL
)"""
RETRIES = """CREATE TABLE IF NOT EXISTS retries (  -- published parts whose failed rows are to be tried again
    number INTEGER PRIMARY KEY
)"""
"""Tables that an earlier version neither makes nor misses."""

LOG_PAGES = 2_000
"""So long SQLite's log grows before it is copied into the journal: most rows have left for a part by then, and their
pages are not copied twice. With 16 KB a page it has 32 MB at most."""

PRAGMAS = f"""
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA page_size = 16384;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = OFF;
PRAGMA cell_size_check = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA wal_autocheckpoint = {LOG_PAGES};
"""
