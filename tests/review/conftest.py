"""Runs to look at, and their page served in a thread."""

import contextlib
import json
import socket
import threading

import pyarrow as pa
import pytest

from batchgen.review.room import ReviewRoom
from tests.evaluation.publishing import publish

TOKEN = "a-long-word-that-nobody-knows"
WORD = pa.dictionary(pa.int32(), pa.string())
PARSED = pa.struct([("label", WORD), ("note", pa.string()), ("n", pa.int64()), ("agreement", pa.float64())])
EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>\x1b[2J\x00\u202egnp.exe'


def publish_run(directory, rows=12, labels=("bug", "praise", "bug", "other"), first=0):
    """Publish labelled rows of which the last failed; agreement falls with the row."""
    answers = [f"answer {row}" for row in range(first, first + rows)]
    answers[1] = EVIL
    fields = [
        {"label": labels[row % len(labels)], "note": f"note {row}", "n": row, "agreement": 1 - row / (2 * rows)}
        for row in range(rows)
    ]
    fields[1]["note"] = EVIL
    fields[-1] = None
    texts = [f"text {row}\n  laid out\tas it was" for row in range(rows)]
    turns = [None] * rows
    turns[1] = json.dumps([{"answer": "<b>no</b>", "problem": "at /n: a text"}, {"answer": EVIL}])
    return publish(directory, {"text": texts}, answers, (PARSED, fields), failed=(rows - 1,), turns=turns)


@pytest.fixture
def run(tmp_path):
    """A run of twelve rows."""
    return publish_run(tmp_path / "run")


@contextlib.contextmanager
def served(directory, other=None):
    """Serve the page of a run; yield its address."""
    uvicorn = pytest.importorskip("uvicorn")
    from batchgen.review.server import application

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        app = application(ReviewRoom(directory, other, "me"), TOKEN, port)
        server = uvicorn.Server(
            uvicorn.Config(
                app, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/{TOKEN}/"
        finally:
            server.should_exit = True
            thread.join()
