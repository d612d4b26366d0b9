"""What is said where there is no connection to a Ray cluster, and how the calls of an actor are kept going."""

import asyncio
from types import SimpleNamespace

import pytest

from batchgen.cluster import ray_nodes
from batchgen.cluster.link import LinkLost
from batchgen.cluster.ray_nodes import NOTHING, RayLink, RayNodes
from batchgen.errors import ResourceStop

ray = pytest.importorskip("ray", reason="the extra ray is not installed")


@pytest.mark.parametrize(("mode", "said"), [(None, True), ("token", False)])
def test_a_cluster_that_may_want_a_token_says_so(monkeypatch, mode, said):
    """Ray itself only says that it failed to connect; who has set the mode knows of it."""

    def failed(**options):
        raise ConnectionError("Failed to connect to Ray cluster at 192.0.2.7:6379")

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", failed)
    monkeypatch.setattr(ray_nodes, "_check_reachable", lambda address: None)
    with pytest.raises(ResourceStop, match="Failed to connect to Ray cluster") as stopped:
        RayNodes("192.0.2.7:6379", None)._connect()
    assert ("RAY_AUTH_MODE=token" in stopped.value.remedy) is said


FRAMES = '  File "sender.py", line 9, in __init__\n    start()\n    ^^^^^^^\n'


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "The actor died because of an error raised in its creation task, \x1b[36mray::A.__init__()\x1b[39m "
            f"(pid=7, ip=192.0.2.7)\n           ^^^^^^\n{FRAMES}ValueError: bad start\nand more of it",
            "ValueError: bad start",
        ),
        (
            "The actor with name RemoteSender failed to import on the worker.\n\nTraceback (most recent call last):\n"
            f"{FRAMES}ModuleNotFoundError: No module named 'batchgen'",
            "ModuleNotFoundError: No module named 'batchgen'",
        ),
        ("The actor died unexpectedly before finishing this task.\n\tclass_name: A\n\tpid: 7", None),
        ("\x1b[36mThe actor is not schedulable\x1b[39m", "The actor is not schedulable"),
        ("", "RayError"),
    ],
)
def test_an_actor_that_cannot_be_created_is_told_by_its_reason(said, reason):
    """Ray's first line names the actor, with colours; the reason stands behind the traceback."""
    assert ray_nodes._reason(ray.exceptions.RayError(said)) == (reason or said.splitlines()[0])


def test_one_call_is_always_open_and_carries_messages_both_ways():
    """A row costs no call of its own: what is pushed is a call, which brings the replies that there are by then."""
    calls = []

    def remote(*arguments):
        calls.append((arguments, asyncio.get_running_loop().create_future()))
        return calls[-1][1]

    async def run():
        actor = SimpleNamespace(open=SimpleNamespace(remote=remote), swap=SimpleNamespace(remote=remote))
        link = RayLink(actor)
        calls[0][1].set_result(b"hello")
        assert await link.pull() == b"hello"
        await asyncio.sleep(0)
        assert [arguments for arguments, _ in calls] == [(), (0, NOTHING)]  # for the worker to answer
        link.push(b"requests")
        calls[1][1].set_result(b"replies")
        assert await link.pull() == b"replies"
        await asyncio.sleep(0)
        assert [arguments for arguments, _ in calls[2:]] == [(1, b"requests")]  # no further one: this one is open
        calls[2][1].set_exception(ray.exceptions.RayError("the node is gone"))
        with pytest.raises(LinkLost, match="the node is gone"):
            await link.pull()
        await asyncio.sleep(0)
        assert len(calls) == 3  # nothing is tried again

    asyncio.run(run())
