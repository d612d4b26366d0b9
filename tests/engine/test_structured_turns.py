"""Structured answers over a scripted transport: turns, their bill, and votes."""

import json
from decimal import Decimal

import pytest

from batchgen.answers.enforcement import Target
from batchgen.answers.schema import AnswerSchema
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.structured import StructuredAnswers
from batchgen.money.ledger import charges_on, with_charges
from batchgen.storage.journal_rows import read_spent, row_crc, spent_body
from batchgen.values import Completion, Failure, FailureKind, Response, Status
from tests.engine.asking import BROKEN, LOST, PARAMETERS, URL, Asking
from tests.engine.asking import row_to_ask as work

pytestmark = pytest.mark.anyio

SCHEMA = AnswerSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, "n.json")


def said(text, *, finish="stop"):
    """A reply with a text: 10 tokens in, 4 out."""
    body = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
    }
    return Response(200, {}, json.dumps(body).encode())


def asking(*answers, begun=None, key=None, **response):
    """Return what asks a row for a structured answer over a scripted transport."""
    target = Target(provider="openai", base_url=URL, model="qwen-plus", parameters=PARAMETERS)
    settings = ResponseSettings(**({"schema": "n.json"} if "labels" not in response else {}), **response)
    structured = StructuredAnswers(settings, target, None if "labels" in response else SCHEMA)
    made = Asking(*answers, attempts=2, key=key).for_structured(structured, begun)
    return made, made.transport, made.clock


def check_bill(made, result, turns, requests):
    """The row has the tokens and the cost of its turns, once the journal has added those that were kept."""
    for spent in made.kept:
        result = with_charges(result, spent)
    assert (result.input_tokens, result.output_tokens) == (10 * turns, 4 * turns)
    assert result.input_cost == Decimal("0.4") * 10 * turns / 1_000_000
    assert result.output_cost == Decimal("1.2") * 4 * turns / 1_000_000
    assert result.attempts == requests


async def test_a_fitting_answer_takes_one_turn():
    """Nothing is added to it."""
    made, transport, _ = asking(said('{"n": 1}'))
    row = work()
    result = made.result(row, await made.attempt(row))
    assert (result.completion, result.confidence, result.answer_turns) == ('{"n": 1}', None, None)
    check_bill(made, result, 1, 1)
    assert len(transport.requests) == 1


async def test_a_repair_is_sent_and_billed():
    """The conversation goes on; the sums are those of both turns."""
    made, transport, _ = asking(said('{"n": "x"}'), said('{"n": 1}'))
    row = work()
    result = made.result(row, await made.attempt(row))
    assert (result.status, result.completion) == (Status.SUCCEEDED, '{"n": 1}')
    check_bill(made, result, 2, 2)
    first, second = (json.loads(request.body)["messages"] for request in transport.requests)
    assert second[: len(first)] == first
    assert [message["role"] for message in second[len(first) :]] == ["assistant", "user"]


async def test_every_answer_is_kept_where_there_are_several():
    """With what was wrong with each, however the row ends, and without the key; votes are numbered."""
    key = "sk-secret-123456"
    made, *_ = asking(said(f'{{"n": "{key}\ud800"}}'), said('{"n": 1}'), key=key)
    row = work()
    first, second = json.loads(made.result(row, await made.attempt(row)).answer_turns)
    assert key not in str(first)
    assert (first["answer"][:6], second["answer"]) == ('{"n": ', '{"n": 1}')
    assert ("/n" in first["problem"], "problem" in second) == (True, False)
    assert (first["input_tokens"], first["output_tokens"], first["finish_reason"]) == (10, 4, "stop")
    made, _, clock = asking(said("{}"), BROKEN, BROKEN)
    row = work()
    result = made.result(row, await made.again(row, await made.attempt(row), clock.sleep))
    assert [turn["answer"] for turn in json.loads(result.answer_turns)] == ["{}"]
    made, *_ = asking(said("{}"), said("[]"))
    row = work()
    result = made.result(row, await made.attempt(row))
    assert [turn["answer"] for turn in json.loads(result.answer_turns)] == ["{}", "[]"]
    made, *_ = asking(said("red"), said("neither"), said("green"), said("red"), labels=["red", "green"], votes=3)
    row = work()
    turns = json.loads(made.result(row, await made.attempt(row)).answer_turns)
    assert [(turn["vote"], turn.get("label"), turn["answer"]) for turn in turns] == [
        (1, "red", "red"),
        (2, None, "neither"),
        (2, "green", "green"),
        (3, "red", "red"),
    ]


async def test_failures_within_a_turn_are_its_own():
    """Two turns of two attempts each, with `max_attempts = 2`; then a third failure in a row ends it."""
    made, _, clock = asking(BROKEN, said("{}"), BROKEN, said('{"n": 1}'))
    row = work()
    outcome = await made.again(row, await made.attempt(row), clock.sleep)
    assert isinstance(outcome, Completion)
    check_bill(made, made.result(row, outcome), 2, 4)
    made, _, clock = asking(said("{}"), BROKEN, BROKEN)
    row = work()
    result = made.result(row, await made.again(row, await made.attempt(row), clock.sleep))
    assert (result.status, result.error_kind, result.completion) == (Status.FAILED, FailureKind.SERVER_ERROR, None)
    check_bill(made, result, 1, 3)


async def test_giving_up_keeps_the_text():
    """The last answer, and why it does not fit."""
    made, *_ = asking(said("{}"), said('{"n": null}'))
    row = work()
    outcome = await made.attempt(row)
    assert isinstance(outcome, Failure)
    result = made.result(row, outcome)
    assert (result.error_kind, result.completion) == (FailureKind.INVALID_OUTPUT, '{"n": null}')
    assert result.error_message.startswith("at /n")
    check_bill(made, result, 2, 2)


async def test_what_a_cancelled_row_was_billed_is_on_record():
    """The turn that was answered is kept; of the one that was cut off only the request is left to tell."""
    made, *_ = asking(said("{}"), KeyboardInterrupt())
    row = work()
    with pytest.raises(KeyboardInterrupt):
        await made.attempt(row)
    assert [(spent.row, spent.input_tokens, spent.attempts, len(spent.turns)) for spent in made.kept] == [
        (row.row, 10, 1, 1)
    ]
    assert (row.billed, row.tally.requests) == (None, 1)


async def killed(*answers, **response):
    """Have a row killed after these answers; return what was kept of it as the journal has it, and what was asked."""
    made, transport, _ = asking(*answers, KeyboardInterrupt(), **response)
    row = work()
    with pytest.raises(KeyboardInterrupt):
        await made.attempt(row)
    body = spent_body(charges_on(row.row, *made.kept))
    return read_spent(row.row, body, row_crc(row.row, body)), transport.requests


@pytest.mark.parametrize(
    ("answers", "rest", "response"),
    [
        (["{}"], ['{"n": 1}'], {}),
        (["{}"], ["[]"], {}),
        (["red"], ["blue", "neither", "Green!", "red"], {"labels": ["red", "green"], "votes": 4}),
        (["red", "neither"], ["green", "green", "green"], {"labels": ["red", "green"], "votes": 4}),
        (["red", "green", "red"], ["green"], {"labels": ["red", "green"], "votes": 4, "confidence": "votes"}),
    ],
)
async def test_a_killed_row_goes_on_where_it_was(answers, rest, response):
    """With its kept turns it asks what it was about to ask, and ends as if nothing had happened; nothing is lost."""
    whole, transport, _ = asking(*map(said, answers + rest), **response)
    row = work()
    expected = whole.result(row, await whole.attempt(row))
    kept, asked = await killed(*map(said, answers), **response)
    assert len(kept.turns) == len(answers)
    made, again, _ = asking(*map(said, rest), begun={kept.row: kept.turns}, **response)
    row = work()
    result = made.result(row, await made.attempt(row))
    assert again.requests[0].body == asked[-1].body
    bodies = [request.body for request in asked[:-1] + again.requests]
    assert bodies == [request.body for request in transport.requests]
    assert result == expected
    made.kept.append(kept)
    check_bill(made, result, len(answers + rest), len(answers + rest))


async def test_a_retried_row_takes_its_turns_up_once():
    """They belong to the row's first attempt in this run: a failure after them does not bring them again."""
    kept, _ = await killed(said("red"), labels=["red", "green"], votes=3)
    made, transport, clock = asking(
        LOST, said("red"), said("green"), begun={kept.row: kept.turns}, labels=["red", "green"], votes=3
    )
    row = work()
    result = made.result(row, await made.again(row, await made.attempt(row), clock.sleep))
    assert (result.completion, len(transport.requests)) == ("red", 3)


async def test_a_kept_turn_has_no_secret():
    """A name that quotes the key is masked before the journal gets it."""
    reply = json.loads(said("no").body)
    reply["model"] = "model of sk-secret-123456"
    made, *_ = asking(Response(200, {}, json.dumps(reply).encode()), KeyboardInterrupt(), key="sk-secret-123456")
    with pytest.raises(KeyboardInterrupt):
        await made.attempt(work())
    assert b"sk-secret" not in spent_body(made.kept[0])


async def test_a_lost_turn_that_is_tried_again_goes_on_where_it_was():
    """The repair is sent again, not the first prompt."""
    made, transport, clock = asking(said("{}"), LOST, said('{"n": 1}'))
    row = work()
    assert isinstance(await made.again(row, await made.attempt(row), clock.sleep), Completion)
    assert transport.requests[1].body == transport.requests[2].body != transport.requests[0].body


async def test_votes_keep_a_winner_and_bill_all():
    """The stored text is a sample with the winning label; agreement counts all samples."""
    samples = map(said, ("red", "Label: green", "neither", "also neither", "Green!"))
    made, transport, _ = asking(*samples, labels=["red", "green"], votes=4, confidence="votes")
    row = work()
    result = made.result(row, await made.attempt(row))
    assert (result.completion, result.agreement, result.confidence) == ("Label: green", 0.5, 0.5)
    check_bill(made, result, 5, 5)
    bodies = [request.body for request in transport.requests]
    assert bodies[0] == bodies[1] == bodies[2] == bodies[4] != bodies[3]


async def test_votes_without_any_label_fail():
    """With the last sample's words."""
    made, *_ = asking(said("blue"), said("black"), labels=["red", "green"], votes=2, max_repairs=0)
    row = work()
    result = made.result(row, await made.attempt(row))
    assert (result.error_kind, result.completion, result.agreement) == (FailureKind.INVALID_OUTPUT, "black", None)
    check_bill(made, result, 2, 2)
