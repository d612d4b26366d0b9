"""Plays of a command on a disk that refuses one operation, or all from one on, and then again on a whole disk."""

import errno
import json
import re
import shutil
import signal
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import tomli_w

from batchgen.results.committed import read_results
from batchgen.simulator import Settings, start_in_thread
from tests.inputs import write_csv
from tests.stores.s3_server import S3Server
from tests.survival.harness import assert_whole, durable_rows
from tests.waiting import wait_until

SOURCE = Path(__file__).with_name("refusing_disk.c")
ERRORS = {name: getattr(errno, name) for name in ("EIO", "ENOSPC", "EDQUOT", "EROFS")}
REMEDY = re.compile(r"again|the same command|choose|make room|mend|restore|remove it|--fresh|next run", re.IGNORECASE)
TEXTS = [f"row {n}" for n in range(6)]


def compiled(directory):
    """Return the library to preload; None where nothing can be compiled."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    library = directory / "refusing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


class Play:
    """A command in a directory of its own, `disk`, in which the job's output `out` lies; `server` is its provider.

    Subclasses say what stands there before, what the command is, and what must hold at the end.
    """

    lane = "live"
    asked = len(TEXTS)
    texts = TEXTS
    counted = True
    more = ()
    shard_rows = None
    env = None

    def __init__(self, spare, place):
        self.spare, self.place = spare, place
        self.disk = place / "disk"
        self.out = self.disk / "out"
        self.disk.mkdir(parents=True)
        self.vendor = place / "vendor"
        self.server = start_in_thread(Settings(batch_speed=1_000_000), directory=self.vendor)
        self.job = place / "job.toml"
        self.write_job(self.texts)
        self.prepare()
        self.server.reset_stats()

    def write_job(self, texts):
        table = write_csv(self.place / "in.csv", texts)
        path = "/v1" if self.lane == "batch" else ""
        provider = "openai" if self.lane == "batch" else "dashscope"
        tables = {
            "name": "refused",
            "input": {"path": str(table)},
            "prompt": {"system": "Answer briefly.", "user": "{{ text }}"},
            "model": {
                "provider": provider,
                "name": "m",
                "base_url": self.server.url + path,
                "lane": self.lane,
                "parameters": {"max_tokens": 256},
            },
            "limits": {"concurrency": 4},
            "pricing": {"models": {"m": {"input": 2, "output": 8, "currency": "USD"}}},
            "output": {"path": str(self.out)},
        }
        if self.lane == "batch":
            tables["batch"] = {"rows": 3, "poll_s": 1}
        self.job.write_text(tomli_w.dumps(tables))

    def prepare(self):
        """Bring about what stands there before the command."""

    @property
    def arguments(self):
        """The command that is played."""
        return "run", self.job, "--no-progress", *self.more

    @property
    def again(self):
        """The same command once more, when the disk is whole."""
        return self.arguments

    def start(self, *arguments, **options):
        """Start a command."""
        return self.spare.start(*arguments, shard_rows=self.shard_rows, env=self.env, **options)

    def done(self, *arguments, code=0):
        """Run a command on a whole disk."""
        run = self.start(*arguments)
        assert run.wait(60) == code, (arguments, run.code, run.out + run.err)
        assert "Traceback" not in run.err, run.err
        return run

    def begin(self, number, *, gone=False, error="EIO", named=""):
        """Play the command, the disk refusing its N-th operation, of those `named` so; return the run."""
        log = self.place / "operations"
        return self.start(*self.arguments, disk=[str(self.disk), named, number, gone, ERRORS[error], str(log)])

    @property
    def operations(self):
        """The operations of the play, as the library has logged them."""
        log = self.place / "operations"
        return log.read_text().splitlines() if log.exists() else []

    def judge(self, run, code):
        """Say what is wrong with the end of a play, by an `AssertionError`."""
        told = run.out + run.err
        assert code in self.codes, (code, told)
        assert "Traceback" not in told, told
        if code:
            assert str(self.disk) in told, told
            assert REMEDY.search(told), told
        else:
            self.complete()

    codes = (0, 2, 3)

    def complete(self):
        """What the command promises when it says that it is done."""
        table = read_results(self.out)
        assert table["status"].to_pylist() == ["succeeded"] * len(self.texts)
        names = {path.name for path in self.out.iterdir()}
        assert names >= {"results", "cost_summary.parquet", "run.json", "job.json"}, names

    def mended(self, run):
        """The same command on a whole disk ends whole, and nothing is asked again that had been kept."""
        lost = sum(map(int, re.findall(r"(\d+) answers? could not be kept", run.out + run.err)))
        kept = durable_rows(self.out, self.place) if self.counted and self.out.exists() else 0
        before = self.server.stats()["billed"]["requests"]
        self.done(*self.again)
        self.whole()
        billed = self.server.stats()["billed"]["requests"]
        assert not self.counted or billed - before == len(self.texts) - kept, (billed, before, kept, lost)
        assert billed <= self.asked + lost, (billed, lost, run.out + run.err)
        self.books(lost)

    def whole(self):
        assert_whole(self.out, self.texts)
        parts = -(-len(self.texts) // (self.shard_rows or len(self.texts)))
        assert len([*(self.out / "results").iterdir()]) == parts

    def books(self, lost):
        billed = self.server.stats()["billed"]["requests"]
        if lost or self.asked != len(self.texts) or not billed:  # the rows before, or a run before, had other books
            return
        table = read_results(self.out)
        for name in ("input_tokens", "output_tokens"):
            assert sum(table[name].to_pylist()) == self.server.stats()["billed_delivered"][name], name

    def close(self):
        self.server.close()


class Live(Play):
    """A run of six rows."""


class Workers(Play):
    more = ("--set", "engine.workers=2")


class Retry(Play):
    """Two rows have failed, and are tried again."""

    asked = 1
    counted = False  # rows that have failed are durable too

    def prepare(self):
        self.server.change(poison="row 1")
        self.done("run", self.job, "--no-progress", "--set", "retry.max_attempts=1", code=1)
        self.server.change(poison=None)

    more = ("--retry-failed",)


class Update(Play):
    """Two rows of the input are others than they were."""

    asked = 2
    counted = False  # answers of the earlier run are not there yet
    more = ("--update",)

    def prepare(self):
        self.write_job([*TEXTS[:4], "was 4", "was 5"])
        self.done("run", self.job, "--no-progress")
        self.write_job(TEXTS)


class Fresh(Play):
    """A complete run is moved aside, and all is asked anew."""

    more = ("--fresh",)
    counted = False  # the earlier run may be in its place still

    def prepare(self):
        self.done("run", self.job, "--no-progress")

    @property
    def again(self):
        """Without --fresh, as a user would who reads that the run can go on."""
        return tuple(word for word in self.arguments if word != "--fresh")


class Resume(Play):
    """A run was killed, and goes on."""

    def prepare(self):
        self.server.change(latency_ms=60)
        run = self.start("run", self.job, "--no-progress", "--set", "limits.concurrency=1")
        wait_until(lambda: self.server.stats()["served"] >= 4)
        run.send(signal.SIGKILL)
        run.wait()
        self.server.change(latency_ms=0)
        self.asked = len(TEXTS) - durable_rows(self.out, self.place)


class Shards(Live):
    """A run of three parts."""

    shard_rows = 2


class LaterShards(Resume):
    """A run that had published a part was killed, and goes on."""

    shard_rows = 2


class Bucket(Play):
    """The output is in a bucket; the run itself lies on the disk."""

    shard_rows = 3
    more = ("--set", "output.path=s3://rows/out")

    def prepare(self):
        self.store = S3Server()
        self.store.__enter__()
        self.store.bucket("rows")
        self.env = self.store.environment
        self.more = (*self.more, "--set", f"output.state={self.out}")

    def complete(self):
        assert "out/run.json" in self.store.keys("rows")
        assert "out/claim.json" not in self.store.keys("rows")

    def whole(self):
        self.complete()
        (self.out / "target.json").unlink()  # what is known of the store
        assert_whole(self.out, self.texts)
        pointer = json.loads(self.store.get("rows", "out/run.json"))
        for name in pointer["files"]:
            assert self.store.get("rows", f"out/{pointer['directory']}/{name}") == (self.out / name).read_bytes()

    def close(self):
        self.store.__exit__()
        super().close()


class Batch(Play):
    """All rows in two batches."""

    lane = "batch"
    counted = False  # what is open at the vendor is counted by its books


class Collect(Batch):
    """Two batches were handed in, and are collected."""

    def prepare(self):
        self.done("run", self.job, "--no-progress", "--detach", code=4)


class Cancel(Collect):
    """Two open batches are cancelled, and what they have is collected."""

    @property
    def arguments(self):
        return "cancel", self.out, "--no-progress"

    codes = (0, 2, 3)

    def complete(self):
        """The rows that were finished are there."""

    @property
    def again(self):
        return "run", self.job, "--no-progress"


RUNS = {
    one.__name__.lower(): one
    for one in (Live, Workers, Retry, Update, Fresh, Resume, Shards, LaterShards, Bucket, Batch, Collect, Cancel)
}


class Look(Play):
    """A command that looks at a complete run."""

    def prepare(self):
        self.done("run", self.job, "--no-progress")

    words = ()
    files = ()

    @property
    def arguments(self):
        return tuple(str(word).replace("OUT", str(self.out)).replace("DISK", str(self.disk)) for word in self.words)

    @cached_property
    def entries(self):
        return sorted(str(path.relative_to(self.disk)) for path in self.disk.rglob("*"))

    def begin(self, number, **options):
        self.entries  # noqa: B018 - before the command
        return super().begin(number, **options)

    def complete(self):
        for name in self.files:
            assert (self.disk / name).stat().st_size, name

    def mended(self, run):
        self.done(*self.again)
        there = sorted(str(path.relative_to(self.disk)) for path in self.disk.rglob("*"))
        # A disk that is gone keeps what was begun: nobody knows whether another command is at work on it.
        new = [name for name in there if name not in self.entries and not name.startswith(".batchgen-")]
        assert new == sorted(self.files)
        self.whole()
        assert not self.server.stats()["requests"]

    def whole(self):
        table = read_results(self.out)
        assert table["text"].to_pylist() == self.texts


def look(name, *words, files=()):
    """Return the play of a command that looks at a run; OUT is its directory, DISK that above it."""
    return type(name, (Look,), {"words": words, "files": files})


LOOKS = {
    "report": look("Report", "report", "OUT", "--html", "DISK/page.html", files=("page.html",)),
    "evaluate": look(
        "Evaluate",
        "evaluate",
        "OUT",
        "--gold",
        "text",
        "--parquet",
        "DISK/m.parquet",
        "--compared",
        "DISK/c.parquet",
        files=("m.parquet", "c.parquet"),
    ),
    "csv": look("Csv", "export", "OUT", "DISK/t.csv", files=("t.csv",)),
    "xlsx": look("Xlsx", "export", "OUT", "DISK/t.xlsx", files=("t.xlsx",)),
    "jsonl": look("Jsonl", "export", "OUT", "DISK/t.jsonl", files=("t.jsonl",)),
    "parquet": look("Parquet", "export", "OUT", "DISK/t.parquet", files=("t.parquet",)),
    "view": look("View", "view", "OUT", "--html", "DISK/v.html", files=("v.html",)),
    "diff": look("Diff", "diff", "OUT", "OUT", "--parquet", "DISK/d.parquet", files=("d.parquet",)),
    "cost": look(
        "Cost", "cost", "OUT", "--write", "DISK/k.csv", "--write", "DISK/k.parquet", files=("k.csv", "k.parquet")
    ),
    "show": look("Show", "show", "OUT"),
    "status": look("Status", "status", "OUT"),
}


class Estimate(Look):
    @property
    def arguments(self):
        return "estimate", self.job, "--output", self.disk / "est", "--html", self.disk / "e.html"

    files = ("e.html", "est", "est/estimate.parquet")


class Check(Look):
    @property
    def arguments(self):
        return "check", self.job


class Batches(Look):
    lane = "batch"
    words = ("batches", "OUT")

    def prepare(self):
        self.done("run", self.job, "--no-progress", "--detach", code=4)

    def whole(self):
        pass


LOOKS |= {"estimate": Estimate, "check": Check, "batches": Batches}
