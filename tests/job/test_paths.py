"""Where the paths of a job file count from: its own folder, whatever the working directory is."""

import os
from contextlib import closing
from functools import reduce
from pathlib import Path

import pytest

import batchgen
from batchgen.errors import JobError
from batchgen.job.endpoint import Endpoint
from batchgen.job.paths import PATH_KEYS, refuse_addresses
from batchgen.job.settings import Job, load_job
from batchgen.job.settings import _all_keys as all_keys
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread

JOB = """
name = "paths"
[input]
path = "data/in.csv"
[prompt]
user_file = "prompts/user.txt"
system_file = "prompts/system.txt"
examples = "../shots.csv"
[attach]
column = "files"
folder = "../scans"
[model]
provider = "dashscope"
name = "qwen-plus"
[pricing]
file = "./prices.toml"
[response]
schema = "answer.schema.json"
[output]
path = "../out"
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the job file in `jobs/`, as working directory."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job.toml").write_text(JOB, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(job):
    here = [key for key in PATH_KEYS if key != "output.state"]  # which goes with an object store alone
    return {key: reduce(getattr, key.split("."), job) for key in here}


def test_paths_count_from_the_folder_of_the_job_file(place):
    """Every key that names a file; the path is told tidily, as seen from the working directory."""
    assert paths(load_job("jobs/job.toml")) == {
        "input.path": "jobs/data/in.csv",
        "prompt.system_file": "jobs/prompts/system.txt",
        "prompt.user_file": "jobs/prompts/user.txt",
        "prompt.examples": "shots.csv",
        "attach.folder": "scans",
        "response.schema": "jobs/answer.schema.json",
        "pricing.file": "jobs/prices.toml",
        "output.path": "out",
    }


@pytest.mark.parametrize("start", [".", "jobs", "elsewhere/deep"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_job_means_the_same_files_wherever_it_is_started_from(place, monkeypatch, start, absolute):
    """From above, beside and elsewhere, with a relative and an absolute path of the job file."""
    wanted = {key: Path(path).resolve() for key, path in paths(load_job("jobs/job.toml")).items()}
    (place / start).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place / start)
    path = place / "jobs" / "job.toml"
    job = load_job(path if absolute else os.path.relpath(path))
    assert {key: Path(found).resolve() for key, found in paths(job).items()} == wanted


def test_overrides_count_from_the_working_directory(place):
    """What is typed on a command line is completed there by the shell, so that it has to mean the same."""
    job = load_job("jobs/job.toml", **{"input": "rows/*.csv", "response.schema": "s.json", "output.path": "here"})
    assert (job.input.path, job.response.schema, job.output.path) == ("rows/*.csv", "s.json", "here")
    assert job.pricing.file == "jobs/prices.toml"


@pytest.mark.parametrize("path", ["-", "/data/in.csv", "s3://bucket/in.csv", "https://example.com/a/../in.csv"])
def test_what_is_no_relative_path_stays_as_it_is(place, path):
    """Standard input, absolute paths and addresses."""
    (place / "jobs" / "job.toml").write_text(JOB.replace("data/in.csv", path), encoding="utf-8")
    assert load_job("jobs/job.toml").input.path == path


@pytest.mark.parametrize("key", sorted({*PATH_KEYS} - {"input.path", "prompt.examples", "output.path"}))
def test_an_address_is_refused_where_it_is_not_read(key):
    """It would be taken for the name of a folder."""
    with pytest.raises(JobError, match=f"{key} takes a path on this machine, and s3://bucket/x is an address"):
        refuse_addresses(
            reduce(lambda inner, name: {name: inner}, reversed(key.split(".")), "s3://bucket/x"), "job.toml"
        )


def test_the_home_directory_is_known(place, monkeypatch):
    """In a job file no shell puts it in."""
    monkeypatch.setenv("HOME", "/home/ada")
    (place / "jobs" / "job.toml").write_text(JOB.replace("data/in.csv", "~/in.csv"), encoding="utf-8")
    assert load_job("jobs/job.toml").input.path == "/home/ada/in.csv"


def test_two_dots_behind_a_symbolic_link_lead_to_where_the_system_goes(place):
    """The folder above a linked one is not the one that holds the link."""
    (place / "disk" / "project").mkdir(parents=True)
    (place / "jobs").rename(place / "disk" / "project" / "jobs")
    (place / "jobs").symlink_to(place / "disk" / "project" / "jobs")
    (place / "disk" / "project" / "out").mkdir()
    assert Path(load_job("jobs/job.toml").output.path).resolve() == place / "disk" / "project" / "out"


@pytest.mark.parametrize("table", ["input = 3", "input = 'x'\n[output]\npath = 4", "[input]\npath = ['a']"])
def test_a_value_of_another_type_is_left_to_the_check_of_types(place, table):
    """No traceback for a job file that is wrong anyhow."""
    (place / "jobs" / "job.toml").write_text(f"name = 'x'\n{table}\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"jobs/job\.toml: "):
        load_job("jobs/job.toml")


def test_every_key_that_names_a_file_is_known():
    """A new key with a path in it has to be in the table."""
    keys = {
        key
        for key in all_keys(Job, "")
        if key.rpartition(".")[2].endswith(("path", "file", "schema", "examples", "folder", "state"))
    }
    assert keys == set(PATH_KEYS)


def test_a_run_goes_on_from_any_directory(place, monkeypatch):
    """Input, templates, schema, prices and output are found from elsewhere, and nothing in the run's identity moves."""
    (place / "jobs" / "data").mkdir()
    (place / "jobs" / "data" / "in.csv").write_text("text\none\ntwo\n")
    (place / "jobs" / "user.txt").write_text("{{ text }}")
    (place / "jobs" / "answer.schema.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    job = JOB.replace("prompts/user.txt", "user.txt").replace('system_file = "prompts/system.txt"\n', "")
    job = job.replace('[attach]\ncolumn = "files"\nfolder = "../scans"\n', "")
    job = job.replace('examples = "../shots.csv"\n', "").replace('[pricing]\nfile = "./prices.toml"\n', "")
    (place / "jobs" / "job.toml").write_text(job, encoding="utf-8")
    with closing(start_in_thread(Settings())) as simulator:
        endpoint = Endpoint(simulator.url, Secret("simulated"), "simulator")
        first = batchgen.run(batchgen.load_job("jobs/job.toml"), endpoint=endpoint)
        monkeypatch.chdir("/")
        again = batchgen.run(batchgen.load_job(place / "jobs" / "job.toml"), endpoint=endpoint)
        assert simulator.stats()["requests"] == first.attempts
    assert (first.rows, again.rows, again.attempts) == (2, 2, first.attempts)
    assert batchgen.read_results(place / "out").num_rows == 2
