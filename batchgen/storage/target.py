"""An output in an object store: the run itself stays on this machine, and what is finished is published there.

`ADDRESS/claim.json` is created, never replaced, before anything is paid: a second run finds it and is refused.
Each sealed part is put below `ADDRESS/GENERATION/results`, a folder of its own for every publication, whose names are
never used again. At the end come the other files, and last `ADDRESS/run.json`, which names the generation. So whoever
reads it sees the old results or the new ones, whenever the process is killed. Then the claim is removed.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import msgspec
from msgspec import Struct

from batchgen.errors import OutputError, StoppedError, StorageStop
from batchgen.files.checksum import checksum
from batchgen.files.disk_errors import storage_stop, unforeseen_stop
from batchgen.files.modes import make_directory
from batchgen.files.replace import replace_file
from batchgen.storage.mirror import CLAIM, POINTER, Claim, Pointer, fetch_generation, read_claim, read_pointer
from batchgen.storage.own_files import COST_SUMMARY_FILE, JOB_FILE, PACE_FILE, RESULTS, STATE_FILE, TARGET_FILE, is_run
from batchgen.storage.parts import part_numbers, part_path
from batchgen.storage.run_state import read_run_json
from batchgen.stores.address import Address
from batchgen.stores.opening import open_store
from batchgen.stores.protocol import ChangedError, ExistsError, MissingError, OutageError, StoreError, again, create
from batchgen.text.storable import json_bytes

_PATIENCE_S = 3600.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0


class _Ledger(Struct):
    """What has been published so far: the generation, and the CRC-32 of each of its parts by number."""

    run: str = ""
    generation: str = ""
    parts: dict[int, int] = {}


class OutputTarget:
    """Where a run in `directory` publishes.

    `failure` is why it can no longer, `waits_for` why not now; `news` are sentences for the user.
    """

    def __init__(self, address: Address, directory: Path, job: str) -> None:
        """Raises `OutputError` where the store cannot be opened."""
        self.address = address
        self.failure: StoppedError | None = None
        self.waits_for: str | None = None
        self.news: SimpleQueue[str] = SimpleQueue()
        self._directory = directory
        self._job = job
        self._queue: SimpleQueue[tuple[int, Callable[[], None]] | None] = SimpleQueue()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._new = False
        with self._refusing():
            self._store = open_store(address)

    # Before a run

    def claim(self, *, fresh: bool) -> None:
        """Claim the target, and fetch the run that was published there if this machine does not have it.

        Raises `OutputError` where another run holds the claim, or the store refuses to be written to.
        """
        make_directory(self._directory.parent)
        token = self._token()
        claim = Claim(token, socket.gethostname(), os.getpid(), str(self._directory), self._job, _now())
        with self._refusing():
            held = read_claim(self._store, self.address)
            if held is None:
                again(lambda: self._store.may_write(self.address.below(CLAIM)))
                try:
                    create(self._store, self.address.below(CLAIM), json_bytes(claim))
                    self._new = True
                except ExistsError:
                    pass
                held = read_claim(self._store, self.address)  # the other one's, where two have come at a time
            if held is None or held.token != token:
                raise OutputError(self._claimed_by(held))
            if not fresh:
                self._fetch()

    def refusal(self) -> str | None:
        """Return why a run could not be published here as things are, None if it could; nothing is written."""
        try:
            held = read_claim(self._store, self.address)
            path = self._token_path()
            known = path.read_text("ascii").split() if path.exists() else []
            if held is not None and held.token not in known[:1]:
                return self._claimed_by(held)
            read_pointer(self._store, self.address)
            again(lambda: self._store.may_write(self.address.below(CLAIM)))
        except StoreError as error:
            return str(error)
        return None

    @contextmanager
    def claimed(self, *, fresh: bool) -> Iterator[None]:
        """`claim`; a claim that was made here is given back if the block refuses to begin a run."""
        self.claim(fresh=fresh)
        try:
            yield
        except (OSError, OutputError):
            if self._new and not is_run(self._directory):
                with suppress(StoreError):
                    self._store.delete(self.address.below(CLAIM))
            raise

    def _fetch(self) -> None:
        pointer = read_pointer(self._store, self.address)
        if pointer is None:
            return
        if not is_run(self._directory):
            fetch_generation(self._store, self.address, pointer, self._directory)
            self._write_ledger(_Ledger(pointer.run, pointer.directory, _crcs(pointer.files)))
            return
        state = read_run_json(self._directory)
        known = {self._published(), state.run if state is not None else ""}
        if pointer.run not in known:
            raise OutputError(
                f"{self.address.text} holds a run that was published from elsewhere, and {self._directory} another: "
                "move that folder away to go on with what is published, or choose another --output."
            )

    def _claimed_by(self, held: Claim | None) -> str:
        where = f"{self.address.text}/{CLAIM}"
        if held is None:
            return f"{self.address.text} cannot be claimed: {where} does not stay where it was put."
        return (
            f"{self.address.text} is claimed by the run of {held.job} on {held.host} (process {held.pid}, since "
            f"{held.since}), whose answers are in {held.state} there: let it end, or choose another --output. If that "
            f"run will never go on, remove {where}."
        )

    def _token(self) -> str:
        """Return what this machine's claims on the target are known by."""
        path = self._token_path()
        if not path.exists():
            replace_file(path, secrets.token_hex(8).encode())
        return path.read_text("ascii").split()[0]

    def _published(self) -> str:
        """Return the run that was last published from here."""
        return (*self._token_path().read_text("ascii").split(), "")[1]

    def _token_path(self) -> Path:
        return self._directory.with_name(f".{self._directory.name}.claim")

    # During a run

    def submit(self, number: int, then: Callable[[], None]) -> None:
        """Publish a sealed part on another thread; `then` is called when it is there, or will not be for now."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="batchgen-publisher", daemon=True)
            self._thread.start()
        self._queue.put((number, then))

    def pause(self) -> None:
        """Stop publishing after the request that is under way; what is left out comes at the next `publish`."""
        self._ending.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def interrupt(self) -> None:
        """Wait no longer for a store that is out of order."""
        self._ending.set()

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            number, then = item
            try:
                if not self._ending.is_set() and self.failure is None and not self._store.together:
                    self._insist(lambda number=number: self._put_part(number))  # type: ignore[misc]
            except StorageStop as error:
                if not self._ending.is_set():  # else it comes at the next `publish`
                    self.failure = error
            except OSError as error:  # those of the network are the store's
                self.failure = storage_stop(f"{self._directory} cannot be written or read ({error}).", error)
            except Exception as error:  # else the run would wait for this thread for ever
                self.failure = unforeseen_stop(error, self._directory)
            finally:
                then()

    def _insist(self, call: Callable[[], None]) -> None:
        """Do it; while the store is out of order wait for it, up to an hour. Raises `StorageStop`."""
        waited, wait_s = 0.0, _FIRST_WAIT_S
        while True:
            try:
                call()
            except OutageError as error:
                if self._ending.is_set() or waited >= _PATIENCE_S:
                    raise self._stop(error) from None
                if not waited:
                    self.news.put(f"{error} The run pauses until it can be; the answers are kept in {self._directory}.")
                self.waits_for = str(error)
                self._ending.wait(wait_s)
                waited, wait_s = waited + wait_s, min(2 * wait_s, _LONGEST_WAIT_S)
            except StoreError as error:
                raise self._stop(error) from None
            else:
                self.waits_for = None
                if waited:
                    self.news.put(f"{self.address.text} can be written again.")
                return

    def _stop(self, error: StoreError) -> StorageStop:
        return StorageStop(
            f"Results cannot be published: {error} All answers are kept in {self._directory}.",
            "When that is mended, the same command goes on from here and pays for nothing twice.",
        )

    def _put_part(self, number: int) -> None:
        path = part_path(self._directory / RESULTS, number)
        _, crc = checksum(path)
        ledger = self._ledger()
        if ledger.parts.get(number) == crc:
            return
        if number in ledger.parts:  # failed rows of a part that is out were tried again: a new set begins
            ledger = self._next_generation()
        try:
            create(self._store, self.address.below(f"{ledger.generation}/{RESULTS}/{path.name}"), path, waits_s=())
        except ExistsError:  # the same, and a kill has come between the put and the ledger
            ledger = self._next_generation()
            create(self._store, self.address.below(f"{ledger.generation}/{RESULTS}/{path.name}"), path, waits_s=())
        self._write_ledger(msgspec.structs.replace(ledger, parts={**ledger.parts, number: crc}))

    # At the end

    def publish(self) -> str:
        """Publish what is not there yet of a complete run, make it the current one, and give the claim back.

        Returns where the results are. Raises `StorageStop`; the next call goes on.
        """
        self._ending.clear()
        try:
            self._insist(self._publish)
            ledger = self._ledger()
        except OutputError as error:  # `run.json` cannot be read
            raise StorageStop(str(error)) from error
        except OSError as error:
            raise storage_stop(f"{self._directory} cannot be written or read ({error}).", error) from error
        return f"{self.address.text}/{ledger.generation}/{RESULTS}"

    def _publish(self) -> None:
        results = self._directory / RESULTS
        numbers = part_numbers(results)
        state = (self._directory / STATE_FILE).read_bytes()
        before = read_pointer(self._store, self.address)
        if not self._store.together:
            for number in numbers:
                self._put_part(number)
            published = {*self._ledger().parts}
            if published != {*numbers}:  # a new set has begun on the way
                if published - {*numbers}:
                    self._next_generation()
                return self._publish()
        ledger = self._ledger()
        names = [name for name in (COST_SUMMARY_FILE, JOB_FILE, PACE_FILE) if (self._directory / name).is_file()]
        paths = {f"{RESULTS}/{part_path(results, number).name}": part_path(results, number) for number in numbers}
        paths |= {name: self._directory / name for name in names}
        files = {name: checksum(path) for name, path in paths.items()}
        found = read_run_json(self._directory)
        assert found is not None
        pointer = Pointer(run=found.run, directory=ledger.generation, files=files, state=msgspec.Raw(state))
        if before is not None and _content(before) == _content(pointer):
            self._end_claim(found.run)
            return None
        below = f"{ledger.generation}/"
        if self._store.together:
            bodies: dict[str, bytes | Path] = {self.address.below(below + name): path for name, path in paths.items()}
            bodies[self.address.below(below + STATE_FILE)] = self._directory / STATE_FILE
            again(lambda: self._store.put_all(bodies))
        else:
            for name in [*names, STATE_FILE]:
                try:
                    create(self._store, self.address.below(below + name), self._directory / name)
                except ExistsError:  # an earlier publication of the same parts, with another cost summary or state
                    self._next_generation()
                    return self._publish()
        self._point(pointer)
        self._end_claim(found.run)
        return None

    def _point(self, pointer: Pointer) -> None:
        """Make a generation the current one; a reply that was lost is settled by reading what is there."""
        key, body = self.address.below(POINTER), json_bytes(pointer)
        try:
            version = again(lambda: self._store.head(key)).version
        except MissingError:
            create(self._store, key, body)
            return
        try:
            again(lambda: self._store.replace(key, body, version))
        except ChangedError:
            there = read_pointer(self._store, self.address)
            if there is None or there.directory != pointer.directory:
                raise StoreError(
                    f"{self.address.text}/{POINTER} has been replaced by another run meanwhile: see who writes there."
                ) from None

    def _end_claim(self, run: str) -> None:
        replace_file(self._token_path(), f"{self._token()} {run}".encode())
        again(lambda: self._store.delete(self.address.below(CLAIM)))

    def _ledger(self) -> _Ledger:
        """Return what is published of the run in the directory; a new run begins a generation of its own."""
        state = read_run_json(self._directory)
        run = state.run if state is not None else ""
        try:
            found = msgspec.json.decode((self._directory / TARGET_FILE).read_bytes(), type=_Ledger)
            if found.run == run:
                return found
        except (FileNotFoundError, msgspec.MsgspecError):
            pass
        return self._next_generation(run)

    def _next_generation(self, run: str | None = None) -> _Ledger:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        ledger = _Ledger(self._ledger().run if run is None else run, f"run-{stamp}-{secrets.token_hex(4)}")
        self._write_ledger(ledger)
        return ledger

    def _write_ledger(self, ledger: _Ledger) -> None:
        replace_file(self._directory / TARGET_FILE, json_bytes(ledger))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise OutputError(str(error)) from None


def _crcs(files: Mapping[str, tuple[int, int]]) -> dict[int, int]:
    found = {re.fullmatch(rf"{RESULTS}/part-(\d+)\.parquet", name): crc for name, (_, crc) in files.items()}
    return {int(match[1]): crc for match, crc in found.items() if match is not None}


def _content(pointer: Pointer) -> tuple[object, ...]:
    """Return what a reader looks for: another limit or address in the job is no reason to publish all parts again."""
    return pointer.run, pointer.state, {name: crc for name, crc in pointer.files.items() if name != JOB_FILE}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
