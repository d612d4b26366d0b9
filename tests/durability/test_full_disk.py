"""A disk that is really full: nothing acknowledged is lost, the answers in flight are kept, and room lets it go on."""

import asyncio
import os
import subprocess

import pyarrow as pa
import pytest

from batchgen.errors import OutputError, StorageStop
from batchgen.results.committed import read_results
from batchgen.storage.result_schema import PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import Shard
from batchgen.storage.writer import Writer
from batchgen.values import Result, Status
from tests.durability import killed_run

ROWS = 3_000


@pytest.fixture
def small_disk(tmp_path):
    """Return a directory on a file system of 12 MB; only root can mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def answer(row):
    """Return a result of 8 KB that does not compress away."""
    return Result(row, Status.SUCCEEDED, 1, 7, completion=os.urandom(4_000).hex())


async def fill(path, emitted):
    """Emit rows until the disk refuses, as a runner would; return the durable ones."""
    durable = {}
    table = pa.table({"n": list(range(ROWS))})
    with RunDirectory.open(path, job="full", fingerprints={}) as directory:

        def keep(results):
            durable.update((result.row, result) for result in results)

        async with Writer(
            directory, killed_run.LAYOUT, concurrency=64, on_commit=keep, group_wait_s=0.01, retry_waits_s=(0.01, 0.01)
        ) as writer:
            settled = await writer.open_shard(Shard(0, 0, table))
            try:
                for row in range(ROWS):
                    if row in settled:
                        continue
                    if row % 32 == 0:
                        await asyncio.sleep(0.002)
                    await writer.wait_for_room()
                    emitted[row] = answer(row)
                    writer.emit(emitted[row])
            finally:
                emitted["durable"] = durable
        directory.finish({}, lambda model: PriceLabel())


def test_a_full_disk_loses_nothing(small_disk):
    """The run stops naming the room needed; with room the next one has every answer that was handed over."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 * 2**20))
    emitted = {}
    with pytest.raises(StorageStop, match=r"make room for about \d+ MB") as caught:
        asyncio.run(fill(small_disk / "out", emitted))
    assert "could not be kept" not in str(caught.value)
    durable = emitted.pop("durable")
    assert 0 < len(durable) < len(emitted) < ROWS
    subprocess.run(["mount", "-o", "remount,size=120m", small_disk], check=True)
    again = {}
    asyncio.run(fill(small_disk / "out", again))
    again.pop("durable")
    assert not set(again) & set(emitted), "an answer that was paid for is asked again"
    texts = read_results(small_disk / "out")["completion"].to_pylist()
    assert texts == [(emitted | again)[row].completion for row in range(ROWS)]


def test_no_room_at_all_is_a_sentence(small_disk):
    """When not even the beginning fits, nothing is sent and the message names the directory."""
    (small_disk / "ballast").write_bytes(bytes(12 * 2**20 - 4096))
    with pytest.raises((OutputError, StorageStop), match="out"):
        asyncio.run(fill(small_disk / "out", {}))
