"""A row of a batch: its line read, and answered by the machine that answers live requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchgen.simulator.answering import answers_to, request_id_of, unacceptable
from batchgen.simulator.answers import SimulatedAnswer, count_tokens
from batchgen.simulator.batches.records import StoredBatch
from batchgen.simulator.bodies import Reply200, whole_body
from batchgen.simulator.calls import CHAT_PATHS, Call, read_call
from batchgen.simulator.error_bodies import error_body
from batchgen.simulator.faults import failed_reply, fallen_on
from batchgen.simulator.messages_api import message_body
from batchgen.simulator.rules import Problem
from batchgen.simulator.settings import BLEMISHES, FAULTS, TRAITS, Settings
from batchgen.simulator.stats import digest_of

TEST_MODEL, TEST_ENDPOINT = "batch-test-model", "/v1/chat/ds-test"
"""DashScope's model for a free trial of the batch API."""

_ROW_FAULTS = frozenset({"error_500", "error_503", "null_content"})
_TEST_ANSWER = SimulatedAnswer("This is a test result.", "stop", 6)
_TEST_INPUT_TOKENS = 20


class InputLine(Struct):
    """A line of an input file in OpenAI's form."""

    custom_id: str
    method: str
    url: str
    body: Raw


class MessageLine(Struct):
    """A request of Anthropic's message batches, as it is kept: a line of a file."""

    custom_id: str
    params: Raw


def line_decoder(batch: StoredBatch) -> Callable[[bytes], InputLine | MessageLine]:
    """Return what reads the lines of a batch's file."""
    if batch.dialect == "anthropic":
        return msgspec.json.Decoder(MessageLine).decode
    return msgspec.json.Decoder(InputLine).decode


class ModelOf(Struct):
    """The model and the thinking setting that a body names."""

    model: str = ""
    enable_thinking: bool | None = None


class AnsweredRow(Struct, frozen=True):
    """What became of a row. Only a row with status 200 is billed."""

    status: int
    body: bytes
    digest: int
    request_id: str
    input_tokens: int = 0
    output_tokens: int = 0


def in_batches(settings: Settings) -> Settings:
    """Return the settings of rows: models that answer streamed requests only answer in batches too, and one for trials
    is there."""
    models = None if settings.models is None else (*settings.models, TEST_MODEL)
    return msgspec.structs.replace(settings, stream_only=(), stream_to_think=(), models=models)


def path_of(dialect: str, endpoint: str) -> str | None:
    """Return the live path whose machine answers a batch's rows; None for an endpoint that is not served."""
    if dialect == "anthropic":
        return "/v1/messages"
    if endpoint not in ("/v1/chat/completions", "/chat/completions", TEST_ENDPOINT):
        return None
    return "/compatible-mode/v1/chat/completions" if dialect == "compatible" else "/v1/chat/completions"


def prompt_tokens(path: str, headers: Mapping[str, str], body: bytes, settings: Settings) -> int:
    """Return the input tokens of a row; 0 for a row that will be refused."""
    call = read_call(path, {**_JSON, **headers}, body, settings)
    return call.input_tokens if isinstance(call, Call) else 0


def answer_row(
    path: str, headers: Mapping[str, str], body: bytes, settings: Settings, attempt: int, *, starved: bool = False
) -> AnsweredRow:
    """Return the answer to a row, or the error with which it fails. `starved`: thinking uses up its tokens."""
    digest = digest_of(body)
    request_id = request_id_of(digest, attempt)
    wire = CHAT_PATHS[path][0]

    def failed(problem: Problem) -> AnsweredRow:
        status, told = error_body(wire, problem, request_id)
        return AnsweredRow(status, told, digest, request_id)

    call = read_call(path, {**_JSON, **headers}, body, settings)
    if isinstance(call, Problem):
        return failed(call)
    if call.stream:
        return failed(Problem(400, "InvalidParameter", "stream is not supported in a batch.", "stream"))
    if call.model == TEST_MODEL:
        told = whole_body(Reply200(call, [_TEST_ANSWER], _TEST_INPUT_TOKENS, request_id))
        return AnsweredRow(200, told, digest, request_id)
    trait = fallen_on(settings, TRAITS, digest, 0)
    problem = unacceptable(call, settings, trait)
    if problem is not None:
        return failed(problem)
    fault = "error_500" if attempt <= settings.fail_first else fallen_on(settings, FAULTS, digest, attempt)
    if fault in _ROW_FAULTS and (reply := failed_reply(wire, fault, request_id)) is not None:
        return AnsweredRow(reply.status, reply.body, digest, request_id)
    answers = (
        [_starved(call)]
        if starved
        else answers_to(call, settings, trait, fallen_on(settings, BLEMISHES, digest, attempt) or "")
    )
    good = Reply200(
        call,
        answers,
        call.input_tokens,
        request_id,
        with_usage=not settings.no_usage,
        null_content=fault == "null_content",
        service_tier="batch",
    )
    told = message_body(good) if wire == "anthropic" else whole_body(good)
    return AnsweredRow(200, told, digest, request_id, good.input_tokens, good.output_tokens)


_JSON: dict[str, str] = {"content-type": "application/json"}


def _starved(call: Call) -> SimulatedAnswer:
    """Return an answer that is all thinking, up to `max_tokens`."""
    most = call.max_tokens or 200
    thought = "Considering the request once more. " * (most // 8)
    thought = thought[: 4 * most] or "Hm"
    return SimulatedAnswer("", "length", max(most, count_tokens(thought)), thought, count_tokens(thought))


def decoded(body: bytes) -> dict[str, Any]:
    """Return a body as a dictionary."""
    value: dict[str, Any] = msgspec.json.decode(body)
    return value
