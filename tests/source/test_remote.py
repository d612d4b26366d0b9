"""Input in a store: what is found, how little is read, and that a change meanwhile is noticed."""

import io
import random
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import InputError
from batchgen.source import Source
from batchgen.stores import remote_file
from batchgen.stores.protocol import RETRY_WAITS_S

ROWS = 30_000
GROUP = 10_000


def parquet(rows=ROWS, seed=1):
    """Return a Parquet file: an id, a short text, and a column that is most of its bytes."""
    drawn = random.Random(seed)
    table = pa.table(
        {
            "id": range(rows),
            "text": [f"row {row} {drawn.random()}" for row in range(rows)],
            "bulk": [drawn.randbytes(150).hex() for _ in range(rows)],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=GROUP)
    return file.getvalue()


BODY = parquet()


def texts(path, **options):
    """Return the column `text` of an input."""
    source = Source.open(path, **options)
    return [value for batch in source.batches(0, ["text"]) for value in batch.table.column("text").to_pylist()]


def test_only_the_columns_in_use_are_fetched(s3):
    """The footer and the pages of two columns; the third, most of the file, stays where it is."""
    s3.put("rows", "a.parquet", BODY)
    source = Source.open("s3://rows/a.parquet", id_column="id")
    source.use_only(["text"])
    assert source.scan().rows == ROWS
    assert sum(request.bytes for request in s3.requests) < len(BODY) / 6
    assert all(request.range for request in s3.served("GET", "a.parquet"))


def test_only_the_row_groups_that_are_needed_are_fetched(s3, monkeypatch):
    """Of a run that goes on in the last third."""
    monkeypatch.setattr("batchgen.source.KEPT_BYTES", 0)
    s3.put("rows", "a.parquet", BODY)
    source = Source.open("s3://rows/a.parquet", id_column="id")
    source.use_only(["text"])
    source.scan()
    all_groups = sum(request.bytes for request in s3.requests)
    s3.requests.clear()
    assert sum(batch.table.num_rows for batch in source.batches(2 * GROUP, ["text"])) == GROUP
    assert sum(request.bytes for request in s3.requests) < all_groups / 2


def test_a_column_that_was_not_scanned_can_still_be_read(s3):
    """`show` asks for others than the run."""
    s3.put("rows", "a.parquet", BODY)
    source = Source.open("s3://rows/a.parquet")
    source.use_only(["text"])
    source.scan()
    assert next(source.batches(0, ["bulk"])).table.schema.names == ["bulk"]


@pytest.mark.parametrize("address", ["s3://rows/t", "s3://rows/t/", "s3://rows/t/*.csv", "s3://rows/**/part-*.csv"])
def test_a_folder_and_a_glob_mean_the_files_they_mean_on_a_disk(s3, address):
    """In natural order; without hidden files, markers of folders and files of other kinds."""
    for name, row in [("part-10.csv", "c"), ("part-2.csv", "b"), ("part-1.csv", "a")]:
        s3.put("rows", f"t/{name}", f"text\n{row}\n".encode())
    for name in ["t/", "t/_SUCCESS", "t/.hidden.csv", "t/notes.md", "other/rows.csv", "t2/part-3.parquet"]:
        s3.put("rows", name, b"" if name.endswith("/") else b"text\nz\n")
    assert texts(address) == ["a", "b", "c"]


def test_partitions_are_columns(s3):
    """As on a disk: the names of the folders below the address."""
    s3.put("rows", "t/lang=de/a.csv", b"text\nhallo\n")
    s3.put("rows", "t/lang=en/a.csv", b"text\nhello\n")
    source = Source.open("s3://rows/t")
    assert [batch.table.to_pylist() for batch in source.batches()] == [
        [{"text": "hallo", "lang": "de"}],
        [{"text": "hello", "lang": "en"}],
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz", "a.xlsx", "packed.csv", "packed.jsonl"])
def test_a_file_that_is_no_parquet_is_fetched_once(s3, name, tmp_path):
    """It is read several times, from a copy."""
    import gzip

    import xlsxwriter

    workbook = io.BytesIO()
    with xlsxwriter.Workbook(workbook) as book:
        book.add_worksheet().write_column(0, 0, ["text", "hello"])
    body = {
        "a.csv": b"text\nhello\n",
        "a.jsonl": b'{"text": "hello"}\n',
        "a.csv.gz": gzip.compress(b"text\nhello\n"),
        "packed.csv": gzip.compress(b"text\nhello\n"),  # as a server or a store packs it, with Content-Encoding
        "packed.jsonl": gzip.compress(b'{"text": "hello"}\n'),
        "a.xlsx": workbook.getvalue(),
    }[name]
    s3.put("rows", f"{tmp_path.name}/{name}", body)
    source = Source.open(f"s3://rows/{tmp_path.name}/{name}")
    source.scan()
    assert [batch.table.to_pylist() for batch in source.batches()] == [[{"text": "hello"}]]
    assert sum(request.bytes for request in s3.served("GET", name)) == len(body)
    local = tmp_path / (f"{name}.gz" if name.startswith("packed") else name)  # on a disk the name has to say so
    local.write_bytes(body)
    assert Source.open(str(local)).scan().fingerprint == source.scan().fingerprint


def test_the_fingerprint_changes_with_the_object(s3):
    """And stays with it: a run that goes on compares it."""
    s3.put("rows", "a.parquet", BODY)
    before = Source.open("s3://rows/a.parquet").scan().fingerprint
    assert Source.open("s3://rows/a.parquet").scan().fingerprint == before
    s3.put("rows", "a.parquet", parquet(seed=2))
    assert Source.open("s3://rows/a.parquet").scan().fingerprint != before


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_input_that_changes_while_it_is_read_is_noticed(s3, monkeypatch, change):
    """No row of another version is ever taken for one of this."""
    monkeypatch.setattr("batchgen.source.KEPT_BYTES", 0)
    s3.put("rows", "a.parquet", BODY)
    source = Source.open("s3://rows/a.parquet")
    batches = source.batches()
    next(batches)
    if change == "replaced":
        s3.put("rows", "a.parquet", parquet(seed=2))
    else:
        s3.client.delete_object(Bucket="rows", Key="a.parquet")
    with pytest.raises(InputError, match=r"Leave the input alone during a run"):
        list(batches)


def test_a_copy_is_of_one_version(s3, monkeypatch):
    """A text file that is replaced between two pieces of the download is refused."""
    monkeypatch.setattr(remote_file, "_PIECE_BYTES", 1 << 16)
    body = b"text\n" + b"hello\n" * 50_000
    s3.put("rows", "moving.csv", body)

    def replace(method, path):
        if method == "GET" and "moving" in path and len(s3.served("GET", "moving")) == 2:
            s3.put("rows", "moving.csv", body.replace(b"hello", b"world"))

    s3.fault = replace
    with pytest.raises(InputError, match="has changed"):
        Source.open("s3://rows/moving.csv")


@pytest.mark.parametrize("fault", [503, 500, "dropped", "lost"])
def test_a_store_that_is_out_of_order_for_a_while_is_waited_for(s3, fault):
    """Each request fails three times."""
    s3.put("rows", "a.parquet", BODY)
    left = {}

    def fail(method, path):
        key = method, path
        left[key] = left.get(key, 4) - 1
        return fault if left[key] > 0 else None

    s3.fault = fail
    assert len(texts("s3://rows/a.parquet")) == ROWS


def test_a_store_that_stays_out_of_order_ends_the_reading(s3):
    """After as many tries as there are waits, with its own words."""
    s3.put("rows", "a.parquet", BODY)
    s3.fault = lambda method, path: 503
    with pytest.raises(InputError, match="503 Service Unavailable"):
        Source.open("s3://rows/a.parquet")
    assert len(s3.requests) == len(RETRY_WAITS_S) + 1


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://rows/b.parquet", r"does not exist. Did you mean s3://rows/a.parquet\?"),
        ("s3://rows/t/*.csv", "No file matches the glob"),
        ("s3://no-such-bucket/a.parquet", "no such bucket"),
        ("s3://rows/empty.csv", "is empty"),
        ("s3://rows/rows.doc", "a document"),
        ("s3://rows/broken.parquet", "not a readable Parquet file"),
        ("S4://rows/a.parquet", "Did you mean s3://rows/a.parquet"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(s3, address, says):
    """One sentence, before anything is sent."""
    s3.put("rows", "a.parquet", BODY)
    s3.put("rows", "empty.csv", b"")
    s3.put("rows", "rows.doc", b"text\n")
    s3.put("rows", "broken.parquet", b"PAR1 and no more PAR1")
    with pytest.raises(InputError, match=says):
        Source.open(address)


def test_refused_access_is_told_from_a_missing_file(s3):
    """With where credentials are looked for."""
    s3.fault = lambda method, path: 403
    with pytest.raises(InputError, match=r"access is refused .*AWS_PROFILE"):
        Source.open("s3://rows/a.parquet")
    assert len(s3.requests) <= 2


class Web(BaseHTTPRequestHandler):
    """A web server; `ranges` and `etag` say what it can do, `behind` is what a signed address needs."""

    ranges, etag, served = True, '"1"', []

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/moved.csv":
            self.send_response(302)
            self.send_header("Location", "/rows.csv?key=abc")
            self.end_headers()
            return
        body = {"/rows.csv": b"text\nhello\n", "/rows.parquet": BODY}.get(path)
        if body is None or query != "key=abc":
            self.send_error(404 if query == "key=abc" else 403)
            return
        total, start = len(body), 0
        if self.ranges and "Range" in self.headers:
            start, _, stop = self.headers["Range"].removeprefix("bytes=").partition("-")
            start = int(start)
            body = body[start : int(stop) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.etag)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # only the headers were wanted
            return
        self.served.append((path, len(body)))

    def log_message(self, *_):
        pass


@pytest.fixture
def web(monkeypatch):
    """A web server's address."""
    monkeypatch.setattr(Web, "served", [])
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Web) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_server_is_read_by_ranges_where_it_has_them(web, monkeypatch, ranges):
    """One that sends files only whole is copied from."""
    monkeypatch.setattr(Web, "ranges", ranges)
    monkeypatch.setattr(Web, "etag", f'"{ranges}"')
    source = Source.open(f"{web}/rows.parquet?key=abc")
    source.use_only(["text"])
    assert source.scan().rows == ROWS
    if ranges:
        assert sum(size for _, size in Web.served) < len(BODY) / 6


def test_a_signed_address_keeps_its_secret(web):
    """The file is read, also behind a redirection, and no message has the signature."""
    assert texts(f"{web}/rows.csv?key=abc") == ["hello"]
    assert texts(f"{web}/moved.csv") == ["hello"]
    with pytest.raises(InputError) as caught:
        Source.open(f"{web}/rows.csv?key=wrong-secret")
    assert "403" in str(caught.value)
    assert "wrong-secret" not in str(caught.value)


def test_a_file_on_a_web_server_that_changes_is_noticed(web, monkeypatch):
    """By the ETag of each reply."""
    monkeypatch.setattr("batchgen.source.KEPT_BYTES", 0)
    batches = Source.open(f"{web}/rows.parquet?key=abc").batches()
    next(batches)
    monkeypatch.setattr(Web, "etag", '"2"')
    with pytest.raises(InputError, match="Leave the input alone"):
        list(batches)
