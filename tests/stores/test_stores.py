"""Every store keeps what the protocol promises. S3 is moto; OSS, Google and Hugging Face are stubs (`stubs`)."""

import json

import pytest

from batchgen.errors import InputError, OutputError
from batchgen.results.committed import read_results
from batchgen.source import Source
from batchgen.stores import opening
from batchgen.stores.address import parse_address
from batchgen.stores.protocol import (
    ChangedError,
    ExistsError,
    MissingError,
    OutageError,
    StoreError,
    create,
    read_whole,
)
from tests.storage.test_target import job, run
from tests.stores.stubs import GoogleStub, HubStub, OssStub, serving

ROOTS = {"s3": "s3://rows", "gs": "gs://rows", "oss": "oss://rows", "hf": "hf://datasets/owner/rows"}


@pytest.fixture(params=ROOTS)
def root(request, monkeypatch):
    """An empty place in each kind of store."""
    opening._opened.cache_clear()
    if request.param == "s3":
        request.getfixturevalue("s3")
        yield ROOTS["s3"]
        return
    with serving({"gs": GoogleStub, "oss": OssStub, "hf": HubStub}[request.param]) as (url, _):
        settings = {"OSS_ENDPOINT": url, "OSS_REGION": "cn-hangzhou", "OSS_ACCESS_KEY_ID": "a"}
        settings |= {"OSS_ACCESS_KEY_SECRET": "b", "HF_TOKEN": "hf_x"}
        account = {
            "gcs_base_url": url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        settings["GOOGLE_SERVICE_ACCOUNT_KEY"] = json.dumps(account)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        if request.param == "hf":
            template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
            monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield ROOTS[request.param]
    opening._opened.cache_clear()


def opened(root):
    """Return the store of a root."""
    return opening.open_store(parse_address(f"{root}/x", InputError))


def test_objects_are_created_and_never_replaced(root):
    """Also an empty one; the same content once more is no fault, as after a lost reply."""
    store = opened(root)
    for key, body in [("a/x", b"hello"), ("a/empty", b"")]:
        store.put(key, body)
        with pytest.raises(ExistsError):
            store.put(key, b"other")
        create(store, key, body)
        with pytest.raises(ExistsError):
            create(store, key, b"other")
        assert read_whole(store, key) == body


def test_whether_one_may_write_is_asked_without_writing(root):
    """Beside what is there, and over it."""
    store = opened(root)
    create(store, "a/x", b"hello")
    store.may_write("a/x")
    store.may_write("b/y")
    assert [found.key for found in store.listing("")] == ["a/x"]
    assert read_whole(store, "a/x") == b"hello"


def test_a_file_is_put_as_it_lies(root, tmp_path):
    """From a path."""
    (tmp_path / "x").write_bytes(b"z" * 100_000)
    store = opened(root)
    create(store, "a/x", tmp_path / "x")
    create(store, "a/x", tmp_path / "x")
    assert read_whole(store, "a/x") == b"z" * 100_000


def test_an_object_is_replaced_in_the_version_that_was_seen(root):
    """In no other."""
    store = opened(root)
    store.put("a/x", b"one")
    first = store.head("a/x")
    store.replace("a/x", b"two", first.version)
    with pytest.raises(ChangedError):
        store.replace("a/x", b"three", first.version)
    assert read_whole(store, "a/x") == b"two"


def test_a_small_object_that_is_replaced_while_it_is_read_is_read_anew(root, monkeypatch):
    """Whoever reads `run.json` gets the old one or the new one."""
    store = opened(root)
    store.put("a/x", b"one")
    asked, left = store.head, [b"two"]

    def head(key):
        found = asked(key)
        if left:
            store.replace(key, left.pop(), found.version)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(store, "head", head)
        assert read_whole(store, "a/x") in (b"one", b"two")
    assert read_whole(store, "a/x") == b"two"


def test_ranges_are_read(root):
    """And no more than them."""
    store = opened(root)
    store.put("a/x", b"0123456789")
    found = store.head("a/x")
    assert (found.size, store.read("a/x", 2, 3, found.version)) == (10, b"234")


def test_what_is_below_a_folder_is_listed(root):
    """Not what only begins alike."""
    store = opened(root)
    for key in ("a/x", "a/b/y", "ab/z"):
        store.put(key, key.encode())
    assert [found.key for found in store.listing("a")] == ["a/b/y", "a/x"]
    assert [found.version for found in store.listing("a")] == [store.head(key).version for key in ("a/b/y", "a/x")]
    assert store.listing("nothing") == []


def test_an_object_whose_name_cannot_be_read_is_named(s3):
    """It stands in the way of every list, at every time: that is no outage, which would be waited out."""
    s3.client.put_object(Bucket="rows", Key="a//x", Body=b"x")
    store = opened(ROOTS["s3"])
    with pytest.raises(StoreError, match=r"a//x.*rename it") as error:
        store.listing("a")
    assert not isinstance(error.value, OutageError)


def test_what_is_missing_is_told_from_what_is_wrong(root):
    """An object, and the bucket itself; to remove what is not there is no fault."""
    store = opened(root)
    store.put("a/x", b"x")
    with pytest.raises(MissingError):
        store.head("a/y")
    store.delete("a/x")
    store.delete("a/x")
    with pytest.raises(MissingError):
        store.head("a/x")
    with pytest.raises(StoreError, match="there is no such"):
        opened(f"{root}-not").listing("a")


@pytest.mark.parametrize("kind", ["oss", "hf"])
def test_a_server_that_cannot_be_reached_is_an_outage(monkeypatch, kind):
    """Whatever the library below it calls that: it is tried again, and the run waits."""
    url = "http://127.0.0.1:9"
    for name, value in {"ENDPOINT": url, "REGION": "x", "ACCESS_KEY_ID": "a", "ACCESS_KEY_SECRET": "b"}.items():
        monkeypatch.setenv(f"OSS_{name}", value)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    opening._opened.cache_clear()
    with pytest.raises(OutageError):
        opened(ROOTS[kind]).head("x")
    opening._opened.cache_clear()


def test_a_job_runs_from_it_and_to_it(root, tmp_path, monkeypatch):
    """Input, output, an update, and what another machine reads."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened(root).put("in/rows.csv", b"text\na\nb\nc\n")
    task = job(tmp_path, input={"path": f"{root}/in/*.csv"}, output={"path": f"{root}/out"})
    assert run(task).state == "complete"
    assert Source.open(f"{root}/in").scan().rows == 3
    first = {found.key for found in opened(root).listing("out")}
    changed = job(tmp_path, user="Now say {{ text }}", input={"path": f"{root}/in"}, output={"path": f"{root}/out"})
    assert run(changed, update=True).state == "complete"
    assert first < {found.key for found in opened(root).listing("out")}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert read_results(f"{root}/out").num_rows == 3
    with pytest.raises(OutputError, match=r"has no run\.json"):
        read_results(f"{root}/nothing")
