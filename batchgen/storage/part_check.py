"""Whether the published parts are still what was written, without reading all of them before a run can go on.

The journal has the stamp that each part's file had when it was written or read last. A part that still has it is taken
as whole at first. A thread reads it while the run goes on and compares its CRC-32, as a damaged disk changes no stamp;
the run waits for that before it ends as complete.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from batchgen.files.checksum import checksum
from batchgen.files.stamps import stamp_of
from batchgen.storage.journal import Journal
from batchgen.storage.journal_rows import keep_stamp, kept_stamps
from batchgen.storage.parts import part_path
from batchgen.storage.recovery import check_parts


class PartCheck:
    """What `check_parts` has found in `damage`, and the reading of the parts that it took as whole.

    `whole` are the numbers of the parts that have all rows of their shard. `expected` as for `check_parts`.
    """

    def __init__(self, journal: Journal, directory: Path, expected: Sequence[int]) -> None:
        """Check what must be checked before anything else is done, and start to read the rest."""
        self._journal = journal
        self._directory = directory
        self._wanted = _unchanged(journal, directory)
        self.damage = check_parts(journal, directory, expected, self._wanted)
        self.whole = {record.number for record in journal.shards() if record.sealed}
        self._keep_stamps()
        self._stopped = threading.Event()
        self._damaged = False
        self._thread = threading.Thread(target=self._read, name="batchgen-part-check", daemon=True)
        self._thread.start()

    def wait(self) -> list[str]:
        """Wait until all are read; return what was found damaged. The rows of these are pending then.

        Raises `OSError` for one that the disk does not give.
        """
        self._thread.join()
        return check_parts(self._journal, self._directory, ()) if self._damaged else []

    def close(self) -> None:
        """Read no more."""
        self._stopped.set()
        self._thread.join()

    def _read(self) -> None:
        for number, crc in self._wanted.items():
            if self._stopped.is_set():
                return
            try:
                _, found = checksum(part_path(self._directory, number))
            except OSError:
                found = -1
            self._damaged = self._damaged or found != crc  # or it has been written anew since

    def _keep_stamps(self) -> None:
        with self._journal.transaction() as db:
            for record in self._journal.shards():
                if record.part is not None and record.number not in self._wanted:
                    with suppress(OSError):
                        keep_stamp(db, record, stamp_of(part_path(self._directory, record.number)))


def _unchanged(journal: Journal, directory: Path) -> dict[int, int]:
    """Return the parts of sealed shards whose files have their stamps, with the CRC-32 that they should have."""
    with journal.transaction() as db:
        stamps = kept_stamps(db)
    found = {}
    for record in journal.shards():
        crc, stamp = stamps.get(record.number, (None, None))
        if record.part is not None and record.part.crc == crc:
            with suppress(OSError):
                if stamp_of(part_path(directory, record.number)) == stamp:
                    found[record.number] = record.part.crc
    return found
