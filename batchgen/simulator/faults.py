"""Which fault an attempt meets, and what it makes of the reply."""

from __future__ import annotations

import re
from hashlib import blake2b

from batchgen.simulator.error_bodies import HTML_PAGE, PORTAL_PAGE, error_frame
from batchgen.simulator.exchange import HTML, Reply, error_reply
from batchgen.simulator.rules import Problem, Wire
from batchgen.simulator.settings import Settings

_FINISHED = re.compile(rb'"(?:finish|stop)_reason":"(?!null")')


def drawn(what: str, seed: int, digest: int, attempt: int) -> float:
    """Return a number in [0, 1) that depends on the arguments alone."""
    return int.from_bytes(blake2b(f"{what} {seed} {digest} {attempt}".encode(), digest_size=8).digest()) / 2**64


def fallen_on(settings: Settings, names: tuple[str, ...], digest: int, attempt: int) -> str | None:
    """Return the one of `names` that this attempt meets, as drawn by their shares in the settings; None if none."""
    shares = [(name, share) for name in names if (share := getattr(settings, name))]
    if not shares:
        return None
    point = drawn(names[0], settings.seed, digest, attempt)
    for name, share in shares:
        point -= share
        if point < 0:
            return name
    return None


def failed_reply(wire: Wire, fault: str | None, request_id: str) -> Reply | None:
    """Return the reply for a fault that replaces the answer; None for any other fault."""
    match fault:
        case "error_500":
            return error_reply(
                wire, Problem(500, "InternalError", "An internal error has occured, try again."), request_id
            )
        case "error_502_html":
            return Reply(502, (HTML,), HTML_PAGE)
        case "error_503":
            problem = Problem(503, "ModelUnavailable", "The model is overloaded, please try again later.")
            return error_reply(wire, problem, request_id)
        case "html_200":
            return Reply(200, (HTML,), PORTAL_PAGE)
    return None


def broken_frames(wire: Wire, frames: list[bytes], fault: str | None, request_id: str) -> list[bytes]:
    """Return the frames of a stream after the fault."""
    finished = next((i for i, frame in enumerate(frames) if _FINISHED.search(frame)), len(frames))
    half = max(1, min(len(frames) // 2, finished))
    if fault == "cut_stream":
        return frames[:half]
    if fault == "stream_error":
        problem = Problem(500, "InternalError", "An internal error has occured in mid-stream.")
        return [*frames[:half], error_frame(wire, problem, request_id)]
    if fault == "malformed":
        broken = frames[half - 1].rstrip()
        return [*frames[: half - 1], broken[: len(broken) * 2 // 3] + b"\n\n", *frames[half:]]
    return frames
