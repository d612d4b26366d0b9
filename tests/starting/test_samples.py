"""The samples that `batchgen init --example` copies."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from batchgen.errors import UsageError
from batchgen.starting.samples import SAMPLES, copy_sample

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_copied_whole(name, tmp_path):
    """Every file is there, byte for byte, and the job finds its input beside it."""
    written = copy_sample(name, tmp_path)
    assert [path.read_bytes() for path in written] == [(ROOT / relative).read_bytes() for relative in SAMPLES[name]]
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {*SAMPLES[name]}


def test_every_sample_job_is_offered():
    """A new job in `jobs` is not forgotten."""
    assert {job for job, *_ in SAMPLES.values()} == {f"jobs/{path.name}" for path in (ROOT / "jobs").glob("*.toml")}


def test_a_second_copy_changes_nothing_and_an_edited_file_stays(tmp_path):
    """The same content may be there; other content stops the copy before anything is written."""
    job, *_ = copy_sample("email", tmp_path)
    copy_sample("email", tmp_path)
    job.write_text("name = 'mine'")
    (tmp_path / "sample_data" / "emails.csv").unlink()
    with pytest.raises(UsageError, match=r"email_extraction\.toml is there already"):
        copy_sample("email", tmp_path)
    assert job.read_text() == "name = 'mine'"
    assert not (tmp_path / "sample_data" / "emails.csv").exists()


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_runs_the_sample(tmp_path):
    """From nothing but the wheel: the sample is copied, checked and run to the end."""
    tree = tmp_path / "tree"
    tree.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    packed = tmp_path / "tree.tar"
    with tarfile.open(packed, "w") as tar:
        for name in filter(None, tracked.decode().split("\0")):
            if (ROOT / name).exists():
                tar.add(ROOT / name, name)
    with tarfile.open(packed) as tar:
        tar.extractall(tree, filter="data")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path / "wheels", tree], check=True)
    (wheel,) = (tmp_path / "wheels").glob("batchgen-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packed_files = {name.partition("share/batchgen/")[2] for name in names}
    assert {file for files in SAMPLES.values() for file in files} <= packed_files
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "-q", "install", "--no-deps", "--ignore-installed", wheel], check=True)
    own, *_ = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    paths = f"{own}:{sysconfig.get_path('purelib')}"  # the wheel first, then what it depends on
    home = tmp_path / "home"
    home.mkdir()

    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": paths}

    def command(*arguments):
        program = tmp_path / "venv" / "bin" / "batchgen"
        return subprocess.run(
            [program, *arguments], cwd=home, env=environment, check=False, capture_output=True, text=True
        )

    assert command("init", "--example", "email").returncode == 0
    done = command("run", "jobs/email_extraction.toml", "--simulate", "--limit", "5", "-o", "out/trial")
    assert done.returncode == 0, done.stderr
    assert (home / "out" / "trial" / "results" / "part-00000.parquet").exists()
