"""`batchgen view` as a process: its address, its end, its page to hand on, and what it says without its packages."""

import re
import signal
import subprocess
import sys

import httpx
import pytest

from tests.review.conftest import publish_run

pytest.importorskip("duckdb")


def view(*arguments, **options):
    """Start the command."""
    command = [sys.executable, "-m", "batchgen", "view", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_it_says_its_address_and_ends_with_ctrl_c(tmp_path):
    """With exit code 0; each start has another address, on this machine alone."""
    run = publish_run(tmp_path / "run")
    addresses = []
    for _ in range(2):
        with view(run, "--no-browser") as process:
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{30,}/", line)[0]
            assert line.startswith("12 rows: ")
            assert httpx.get(address, trust_env=False).status_code == 200
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        assert process.returncode == 0
        addresses.append(address)
    assert addresses[0].split("/")[3] != addresses[1].split("/")[3]


def test_a_page_to_hand_on(tmp_path):
    """It runs nothing and loads nothing, whatever the answers contain."""
    run = publish_run(tmp_path / "run")
    with view(run, "--html", tmp_path / "page.html") as process:
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, f"12 rows in {tmp_path / 'page.html'}\n")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;document.title=2" in page
    assert "<h3>All answers</h3><dl><dt>answer 1 of 2<dd><pre dir=auto>&lt;b&gt;no&lt;/b&gt;</pre>" in page
    assert not {*map(chr, range(32))} - {"\n", "\t"} & {*page}


def test_without_rows_it_says_that_there_are_none(tmp_path):
    """Instead of a page."""
    with view(tmp_path / "none") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no row is answered there yet" in said
