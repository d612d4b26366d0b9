"""One interruption, while a call of files or batches hangs."""

import anyio
import pytest

import batchgen
from batchgen.api import arun
from batchgen.engine.batches import leaving
from batchgen.engine.control import Control
from batchgen.transport.file_client import FileClient
from tests.engine.batches.conftest import books_agree
from tests.engine.batches.virtual import Notes

HANGING = {
    "upload": lambda call: call.upload is not None and call.url.endswith("/files"),
    "create": lambda call: call.method == "POST" and call.url.endswith("/batches"),
    "look": lambda call: call.method == "GET" and "/batches/" in call.url,
    "download": lambda call: call.url.endswith("/content"),
    "clean-up": lambda call: call.method == "DELETE",
}


@pytest.fixture
def interrupted():
    """Return what runs a job and interrupts it when a call hangs, once the vendor has taken it or before; it returns
    the summary, how long that took, and what was said."""

    def run(job, hangs, *, taken):
        control, undo = Control(), pytest.MonkeyPatch()
        made = {name: getattr(FileClient, name) for name in ("call", "download")}
        begun_s, notes = [], Notes()

        def wrapped(name):
            async def call(self, call, *args, **options):
                if not hangs(call):
                    return await made[name](self, call, *args, **options)
                if taken:
                    await made[name](self, call, *args, **options)
                if not begun_s:
                    begun_s.append(anyio.current_time())
                    control.interrupt()
                await anyio.sleep_forever()

            return call

        async def main():
            with anyio.fail_after(30):
                done = await arun(job, control=control, reporter=notes)
                return done, anyio.current_time() - begun_s[0], notes.said

        for name in made:
            undo.setattr(FileClient, name, wrapped(name))
        try:
            return anyio.run(main)
        finally:
            undo.undo()

    return run


@pytest.mark.parametrize(
    ("kind", "provider", "taken"),
    [
        *((kind, "openai", False) for kind in HANGING),
        ("upload", "openai", True),
        ("create", "openai", True),
        ("create", "anthropic", False),
        ("create", "anthropic", True),
    ],
)
def test_a_call_that_hangs_does_not_hold_up_an_interruption(
    job, server, interrupted, monkeypatch, kind, provider, taken
):
    """The run ends soon, and the next one pays nothing again, whether or not the vendor has heard the call."""
    monkeypatch.setattr(leaving, "LEAVE_S", 0.1)
    monkeypatch.setattr(leaving, "CREATE_LEAVE_S", 0.2)
    made = job(12, provider)
    left, waited_s, said = interrupted(made, HANGING[kind], taken=taken)
    assert waited_s < 2
    if kind == "clean-up":  # all rows are answered by then
        assert left.state == "complete"
        assert any("may stay at the vendor" in text for text in said)
        return
    assert left.state == "interrupted"
    done = batchgen.run(made)
    assert (done.state, done.succeeded) == ("complete", 12)
    assert done.possibly_billed.requests == (12 if (kind, provider, taken) == ("create", "anthropic", False) else 0)
    assert server.stats()["billed_lanes"]["batch"]["requests"] == 12
    books_agree(server, done)


def test_a_creation_is_waited_for_longer(job, server, interrupted, monkeypatch):
    """Its reply says what nobody has to look for then."""
    monkeypatch.setattr(leaving, "LEAVE_S", 0.01)
    monkeypatch.setattr(leaving, "CREATE_LEAVE_S", 1.0)
    left, waited_s, _ = interrupted(job(12), HANGING["create"], taken=True)
    assert left.state == "interrupted"
    assert 0.9 < waited_s < 3
    assert [batch.state for batch in left.batches] == ["creating"]
