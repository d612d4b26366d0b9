"""What the page's server answers, and to whom."""

import json

import httpx
import pytest

from tests.review.conftest import TOKEN, served

pytest.importorskip("duckdb")


@pytest.fixture
def client(run):
    """A client of a page's server."""
    with served(run) as address, httpx.Client(base_url=address, trust_env=False) as one:
        yield one


def test_the_page_may_load_nothing_from_elsewhere(client):
    """Its policy allows no inline script and no other host; it is not kept anywhere."""
    reply = client.get("")
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    for name in ("page.css", "page.js", "shown.js"):
        assert client.get(name).status_code == 200
    assert "<script>" not in reply.text
    assert "style=" not in reply.text
    assert "http" not in reply.text


def test_only_who_has_the_address_gets_in(client):
    """The token, the host and the origin have to be right."""
    root = str(client.base_url).replace(f"{TOKEN}/", "")
    for path in ("", "rows", f"{TOKEN[:-1]}/", f"{TOKEN}x/open"):
        assert httpx.get(root + path, trust_env=False).status_code == 404
    for headers in (
        {"host": "evil.example"},
        {"host": "127.0.0.1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
    ):
        assert client.get("open", headers=headers).status_code == 403
        assert client.post("say", headers=headers, content="{}").status_code == 403
    assert client.get("open").status_code == 200


@pytest.mark.parametrize("name", ["../room.py", "room.py", "%2e%2e/room.py", "page.html%00"])
def test_no_other_file_is_served(client, name):
    """Only those of the page."""
    assert client.get(name).status_code == 404


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("rows", {"reading": 9}),
        ("rows", {"reading": "x"}),
        ("rows", {"reading": 1, "wanted": "{"}),
        ("rows", {"reading": 1, "wanted": json.dumps({"order": "1; DROP TABLE review"})}),
        ("rows", {"reading": 1, "wanted": json.dumps({"values": {"x) OR (1=1": ["1"]}})}),
        ("row", {"reading": 1}),
    ],
)
def test_what_cannot_be_read_is_refused(client, path, parameters):
    """With a reason."""
    reply = client.get(path, params=parameters)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_values_are_no_part_of_queries(client):
    """Quotes in a search or a chosen value are letters."""
    for wanted in ({"text": "'; --"}, {"values": {"status": ["' OR 1=1 --"]}}):
        assert client.get("rows", params={"reading": 1, "wanted": json.dumps(wanted)}).json()["count"] == 0


def test_ranges_and_empty_cells(client):
    """A range of a number, and rows without a value."""
    for wanted, count in (
        ({"ranges": {"agreement": [0.9, 1.0]}}, 3),
        ({"values": {"parsed.label": [None]}}, 1),
        ({"values": {"parsed.label": [None, "other"]}}, 3),
        ({"values": {"status": ["failed"]}, "text": "answer"}, 1),
    ):
        assert client.get("rows", params={"reading": 1, "wanted": json.dumps(wanted)}).json()["count"] == count
