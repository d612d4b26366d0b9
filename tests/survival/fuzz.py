"""Damaged replies by the million: `python -m tests.survival.fuzz --inputs 1000000 --processes 2 --seed 1`.

Each input is a real body of `tests/providers/bodies` (or a frame sequence made of several), damaged once to six times
by rules that know JSON and event streams: bytes flipped, cut, doubled or swapped; values replaced by others of any
kind; keys renamed, dropped, doubled; nesting; frames dropped, doubled, put in another order, mixed from two streams;
line endings, BOMs, surrogates, huge numbers. For each: no exception, no success without a finish reason, a value that
can be stored, and no memory that grows.
"""

import argparse
import json
import multiprocessing
import random
import resource
import sys
import time
from pathlib import Path

import msgspec

from batchgen.values import Completion, Failure, Response
from tests.providers.samples import HOSTS, SAMPLES, ask, provider_for

BODIES = [(sample.body, sample.streamed) for sample in SAMPLES]
PROVIDERS = {server: provider_for(server) for server in HOSTS}
REQUESTS = {(server, stream): ask(PROVIDERS[server], stream=stream) for server in HOSTS for stream in (False, True)}

VALUES = [
    None, True, False, 0, -1, 1.5, 10**30, -(10**400), 1e308, "", "stop", "null", "\ud800", "\x00", "x" * 5000, [], {},
    [[]], [None], {"": {}}, {"text": None}, [{"message": {}}], "🙂" * 100, "9" * 5000, ["stop"], {"content": ["a"]},
]  # fmt: skip
WORDS = [
    b"null", b"NaN", b"Infinity", b"1e999", b"9" * 5000, b'"\\ud800"', b'"\\u0000"', b"\xff\xfe", b"\xef\xbb\xbf",
    b"[" * 3000, b'{"a":' * 3000, b"data:", b"\n\n", b"\r\n", b"\r", b"event: error\n", b"[DONE]", b"id:", b": ping\n",
    b"retry: 1\n", b"\x1f\x8b", b"<html>", b"\xc0\x80", b"\xed\xa0\x80", b'"finish_reason":null', b'"finish_reason":""',
]  # fmt: skip


def places(value, found, path=()):
    """List the places of all values in a JSON tree."""
    found.append(path)
    if isinstance(value, dict):
        for key, below in value.items():
            places(below, found, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            places(below, found, (*path, number))
    return found


def changed_tree(value, chance):
    """Return a JSON tree with something in it replaced, dropped, renamed, doubled or moved."""
    spots = places(value, [])[1:]
    if not spots:
        return chance.choice(VALUES)
    *way, last = chance.choice(spots)
    parent = value
    for step in way:
        parent = parent[step]
    kind = chance.randrange(6)
    if kind <= 2:
        parent[last] = chance.choice(VALUES)
    elif kind == 3:
        del parent[last]
    elif kind == 4 and isinstance(parent, dict):
        parent[chance.choice(["error", "code", "message", "choices", "output", "usage", "delta", ""])] = parent.pop(
            last
        )
    elif isinstance(parent, list):
        parent.extend(parent[:4])
    else:
        parent[last] = [parent[last]]
    return value


def encoded(value):
    """Return JSON bytes, lone surrogates included."""
    return json.dumps(value, ensure_ascii=True).encode()


def changed_json(body, chance):
    try:
        return encoded(changed_tree(json.loads(body), chance))
    except (ValueError, RecursionError):
        return body


def changed_frames(body, chance):
    """Return an event stream with frames dropped, doubled, shuffled, mixed with another stream's, or changed inside."""
    frames = body.split(b"\n\n")
    kind = chance.randrange(7)
    place = chance.randrange(len(frames))
    if kind == 0:
        del frames[place]
    elif kind == 1:
        frames.insert(place, frames[place])
    elif kind == 2:
        chance.shuffle(frames)
    elif kind == 3:
        other = chance.choice([body for body, streamed in BODIES if streamed]).split(b"\n\n")
        frames[place:place] = other[: chance.randint(1, len(other))]
    elif kind == 4:
        return body.replace(b"\n", chance.choice([b"\r\n", b"\r", b"\n\n", b"\n: ping\n"]))
    else:
        head, mark, tail = frames[place].partition(b"{")
        if mark:
            frames[place] = head + changed_json(mark + tail, chance)
    return b"\n\n".join(frames)


def changed_bytes(body, chance):
    if not body:
        return chance.choice(WORDS)
    place = chance.randrange(len(body))
    kind = chance.randrange(5)
    if kind == 0:
        return body[:place] + bytes([body[place] ^ (1 << chance.randrange(8))]) + body[place + 1 :]
    if kind == 1:
        return body[:place]
    if kind == 2:
        return body[:place] + chance.choice(WORDS) + body[place:]
    end = min(len(body), place + chance.randint(1, 200))
    return body[:place] + body[end:] if kind == 3 else body[:end] + body[place:]


def input_of(chance):
    """Return one damaged body and whether it is a stream."""
    body, streamed = chance.choice(BODIES)
    for _ in range(chance.randint(1, 6)):
        way = chance.randrange(3)
        if way == 0:
            body = changed_bytes(body, chance)
        elif streamed:
            body = changed_frames(body, chance)
        else:
            body = changed_json(body, chance)
        if len(body) > 200_000:
            body = body[:200_000]
    return body, streamed


def check(body, streamed, chance):
    """Read one body by one server's reader; return whether it passed for a success. Raises for what must not be."""
    server = chance.choice(list(PROVIDERS))
    stream = streamed if chance.random() < 0.95 else not streamed
    status = chance.choice([200, 200, 200, 200, 400, 429, 500, 204])
    outcome = PROVIDERS[server].read_response(REQUESTS[server, stream], Response(status, {}, body))
    msgspec.msgpack.encode(outcome)
    msgspec.json.encode(outcome)
    if isinstance(outcome, Completion):
        if status >= 300 or outcome.finish_reason == "null":
            raise AssertionError(f"no success: {outcome}")
        whole = body.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"{", b"["))
        if not outcome.finish_reason and not (whole and (outcome.text or outcome.tool_calls)):  # a whole reply is one
            raise AssertionError(f"a success without a finish reason: {outcome}")
        for text in (outcome.text, outcome.reasoning, outcome.tool_calls, outcome.finish_reason, outcome.model):
            if text is not None:
                text.encode()
        return True
    if not isinstance(outcome, Failure) or not outcome.message or len(outcome.message) > 2000:
        raise AssertionError(f"no good failure: {outcome}")
    return False


def resident_mb():
    """Return the memory this process has now, in MB (the peak that `getrusage` tells may be its parent's)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def run(seed, inputs):
    """Read so many inputs; return successes and the growth of the process in MB since the first tenth."""
    chance = random.Random(seed)
    successes, settled = 0, 0
    for number in range(inputs):
        body, streamed = input_of(chance)
        try:
            successes += check(body, streamed, chance)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, input {number}: {error!r} from {body[:2000]!r}") from error
        if number == inputs // 10:
            settled = resident_mb()
    return successes, resident_mb() - settled


def main():
    """Share the inputs out over processes and print what came of them."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--inputs", type=int, default=1_000_000)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    sys.set_int_max_str_digits(0)  # the damage itself writes numbers of 5,000 digits
    began = time.monotonic()
    pieces = 10 * given.processes
    shares = [(given.seed * 1000 + n, given.inputs // pieces) for n in range(pieces)]
    with multiprocessing.Pool(given.processes) as pool:
        told = pool.starmap(run, shares)
    successes, growth = sum(s for s, _ in told), max(g for _, g in told)
    print(
        f"{given.inputs:,} inputs in {time.monotonic() - began:.0f} s: no exception, {successes:,} passed for answers, "
        f"each with a finish reason; memory grew by {growth:.0f} MB at most"
    )


if __name__ == "__main__":
    main()
