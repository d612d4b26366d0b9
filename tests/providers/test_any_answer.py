"""Whatever usage, end, order of frames and error words come together, a reply is read for what it says.

Replies are put together from parts whose meaning is known, in both wire formats, plain and streamed; what must come out
is worked out from the parts alone.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from batchgen.money.budget import Budget
from batchgen.money.prices import load_prices
from batchgen.money.reservation import Reservations
from batchgen.values import Completion, Failure, FailureKind, Prompt, Usage, Verdict

from .samples import ask, provider_for, read

PRICE = load_prices().find("qwen-plus", "international")
GOOD = {"stop": "stop", "STOP": "stop", "end_turn": "stop", "eos": "stop", "length": "length", "MAX_TOKENS": "length"}
HELD = ("content_filter", "SAFETY", "sensitive")
BROKEN = ("error", "abort", "insufficient_system_resource", "network_error")
ERRORS = {
    "Your account has no credits left.": (FailureKind.ACCOUNT, Verdict.STOP),
    "The prompt is too long": (FailureKind.TOO_LONG, Verdict.FAIL),
    "The server is overloaded": (FailureKind.RATE_LIMITED, Verdict.WAIT),
    "qwx 7 went wrong": (FailureKind.SERVER_ERROR, Verdict.RETRY),
}
PADDING = [b": keep-alive\n\n", b"\n", b"event: ping\ndata: {}\n\n", b"retry: 9\n", b"data:\n\n"]


class Told(Struct):
    """A report of tokens, and what it says."""

    report: dict | None
    usage: Usage


@st.composite
def reports(draw):
    """Return one truth in one of many forms, or a report that says less than all."""
    read_, written = draw(st.integers(2, 4000)), draw(st.integers(2, 4000))
    cached, thought = draw(st.integers(1, read_ - 1)), draw(st.integers(1, written - 1))
    total = read_ + written
    plain = Usage(read_, written, total)
    whole = Usage(read_, written, total, cached_tokens=cached, reasoning_tokens=thought)
    odd = Usage(read_, written, total, contradictory=True)
    pair = {"prompt_tokens": read_, "completion_tokens": written}
    forms = [
        Told(pair | {"total_tokens": total}, plain),
        Told({"input_tokens": read_, "output_tokens": written}, plain),
        Told(pair | {"input_tokens": 0, "output_tokens": 0, "total_tokens": total}, plain),
        Told({"prompt_tokens": str(read_), "completion_tokens": float(written)}, plain),
        Told({"prompt_tokens": read_, "total_tokens": total}, plain),
        Told({"billed_units": {"input_tokens": read_, "output_tokens": written}, "tokens": pair}, plain),
        Told({"tokens_in": read_, "tokens_out": written}, plain),
        Told(
            pair
            | {"total_tokens": total, "prompt_tokens_details": {"cached_tokens": cached}}
            | {"completion_tokens_details": {"reasoning_tokens": thought}},
            whole,
        ),
        Told(
            {"promptTokenCount": read_, "candidatesTokenCount": written - thought, "thoughtsTokenCount": thought}
            | {"totalTokenCount": total, "cachedContentTokenCount": cached},
            whole,
        ),
        Told(
            {"input_tokens": read_ - cached, "output_tokens": written, "cache_read_input_tokens": cached},
            Usage(read_, written, total, cached_tokens=cached),
        ),
        Told(pair | {"total_tokens": total, "cached_tokens": read_ + cached}, odd),
        Told(pair | {"total_tokens": total, "reasoning_tokens": written + thought}, odd),
        Told({"total_tokens": total}, Usage(total_tokens=total)),
        Told({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage()),
        Told(None, Usage()),
    ]
    return draw(st.sampled_from(forms))


class Reply(Struct):
    """A reply's parts: pieces of text, end, tokens, an error and the number of pieces before it."""

    native: bool
    streamed: bool
    pieces: list[str]
    end: str
    told: Told
    error: str | None
    place: int
    in_frame_of_its_own: bool
    last_first: bool
    ending: bytes
    padding: list[bytes]

    @property
    def text(self):
        return "".join(self.pieces)

    @property
    def is_cut_off(self):
        """Whether the error came before the answer was whole."""
        whole = self.end in (*GOOD, *HELD) and bool(self.text)
        return self.error is not None and (self.place <= len(self.pieces) or not whole)

    def choice(self, text, end):
        choice = {"index": 0, "finish_reason": end, "message" if self.native else "delta": {"content": text}}
        return {"output": {"choices": [choice]}} if self.native else {"choices": [choice]}

    def documents(self):
        """Return the frames in order."""
        found = [self.choice(piece, None) for piece in self.pieces]
        last = self.choice("", self.end)
        usage = {} if self.told.report is None else {"usage": self.told.report}
        apart = bool(usage) and self.in_frame_of_its_own and not self.native
        found.append(last if apart else last | usage)
        if self.error is not None:
            found.insert(self.place, {"error": {"message": self.error}})
        if apart:
            found.insert(0 if self.last_first else len(found), {"choices": []} | usage)
        return found

    def body(self):
        if not self.streamed:
            message = {"index": 0, "finish_reason": self.end, "message": {"content": self.text}}
            body = {"output": {"choices": [message]}} if self.native else {"choices": [message]}
            if self.told.report is not None:
                body["usage"] = self.told.report
            return msgspec.json.encode(body)
        parts = [b"data: " + msgspec.json.encode(one) + b"\n\n" for one in self.documents()]
        for number, one in enumerate(self.padding):
            parts.insert((7 * number) % (len(parts) + 1), one)
        return b"".join(parts).replace(b"\n", self.ending)

    def outcome(self):
        server = "dashscope" if self.native else "openai"
        return read(server, self.body(), stream=self.streamed)


REPLIES = st.builds(
    Reply,
    native=st.booleans(),
    streamed=st.booleans(),
    pieces=st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6), max_size=4),
    end=st.sampled_from([*GOOD, *HELD, *BROKEN, "some_new_word"]),
    told=reports(),
    error=st.sampled_from([None, None, *ERRORS]),
    place=st.integers(0, 9),
    in_frame_of_its_own=st.booleans(),
    last_first=st.booleans(),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    padding=st.lists(st.sampled_from(PADDING), max_size=4),
)


@given(REPLIES)
@settings(max_examples=500, deadline=None)
def test_a_reply_is_what_its_parts_say(reply):
    """Its text once, its end in our words, its tokens and no others; an error by its words, unless all was said."""
    reply.error = reply.error if reply.streamed else None
    outcome = reply.outcome()
    if reply.is_cut_off:
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.verdict) == ERRORS[reply.error]
        assert outcome.maybe_billed or not reply.pieces[: reply.place]
    elif reply.end in BROKEN or (reply.end == "some_new_word" and not reply.text):
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.verdict) == (FailureKind.SERVER_ERROR, Verdict.RETRY)
    elif reply.end in HELD and not reply.text:
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.verdict) == (FailureKind.CONTENT_FILTER, Verdict.FAIL)
    else:
        assert isinstance(outcome, Completion)
        assert (outcome.text or "") == reply.text
        assert outcome.finish_reason == GOOD.get(reply.end, "content_filter" if reply.end in HELD else reply.end)
        assert outcome.usage == reply.told.usage
    check_tokens(reply, outcome)
    check_money(outcome)


def check_tokens(reply, outcome):
    """No figure is larger than what was told, of an attempt that failed neither."""
    usage = outcome.usage
    if usage is not None:
        for told, found in zip(msgspec.structs.astuple(reply.told.usage), msgspec.structs.astuple(usage), strict=True):
            assert found is None or not found or found == told


def check_money(outcome):
    """What was billed costs something, or nobody knows what: then the budget counts the most that it can have been."""
    cost = None if outcome.usage is None else PRICE.cost(outcome.usage)
    assert cost is None or cost.input + cost.output > 0
    budget = Budget(Decimal(9))
    parameters = {"max_tokens": 4000}
    held = Reservations(budget, price_of=lambda name: PRICE, model="qwen-plus", parameters=parameters, currency="USD")
    request, prompt = ask(provider_for("openai")), Prompt(messages=[{"role": "user", "content": "?"}])
    reserved = held.try_hold(request, prompt)
    held.settle(reserved, request, prompt, outcome, cost)
    counted = budget.spent + budget.possibly_billed.cost
    billed = isinstance(outcome, Completion) or outcome.maybe_billed or outcome.usage is not None
    assert counted > 0 if billed else counted == 0
    assert budget.reserved == 0
