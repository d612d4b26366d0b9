"""The messages around an answer: the instruction before it, examples, and the turns that ask for a better answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from batchgen.answers.shape import Misfit
from batchgen.errors import InputError
from batchgen.prompts.messages import as_messages
from batchgen.values import Completion, Failure, Message, Prompt

_FIRST_ROLES = ("system", "developer")


def instructed(prompt: Prompt, instruction: str | None, examples: Sequence[Message] = ()) -> Prompt:
    """Return the prompt with `instruction` at the end of its system message (one is put first if there is none).

    `examples` are turns that come before the prompt's own. The older form `text` takes the instruction before itself,
    unless there are examples, which make messages of it.
    """
    if prompt.text is not None and not prompt.messages and not examples:
        text = prompt.text if instruction is None else f"{instruction}\n\n{prompt.text}"
        return msgspec.structs.replace(prompt, text=text)
    messages = as_messages(prompt)
    own_system = bool(messages) and messages[0]["role"] in _FIRST_ROLES
    first = messages[:1] if own_system else []
    rest = messages[1:] if own_system else messages
    if instruction is not None:
        first = [_appended(first[0], instruction)] if first else [{"role": "system", "content": instruction}]
    return msgspec.structs.replace(prompt, messages=[*first, *examples, *rest], text=None, history=())


def _appended(message: Message, instruction: str) -> Message:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": instruction}]}
    text = (content or "").rstrip()
    return {**message, "content": f"{text}\n\n{instruction}" if text else instruction}


def repair_messages(messages: Sequence[Message], completion: Completion, problem: str, wanted: str) -> list[Message]:
    """Return the conversation with the answer that did not fit, and a turn that says so.

    `problem` is what was wrong, `wanted` what to send instead. An answer given as tool calls is answered as their
    result, as the formats want it.
    """
    note = f"Your answer was not valid.\n{problem}\n{wanted}"
    calls = None if completion.tool_calls is None else msgspec.json.decode(completion.tool_calls)
    if isinstance(calls, list) and calls and all(isinstance(call, dict) and call.get("id") for call in calls):
        answer: Message = {"role": "assistant", "content": completion.text or "", "tool_calls": calls}
        results = [{"role": "tool", "tool_call_id": call["id"], "content": note} for call in calls]
        return [*messages, answer, *results]
    said = completion.text if completion.text and completion.text.strip() else "(no answer)"  # "" is refused by some
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": note}]


def worded(problems: Sequence[Misfit]) -> str:
    """Return problems as lines for the model."""
    return "\n".join(f"- at {problem.path or 'the top'}: {problem.message}" for problem in problems)


def example_turns(
    rows: Iterable[Mapping[str, Any]],
    render: Callable[[Mapping[str, Any]], Prompt | Failure],
    answer: Callable[[Mapping[str, Any]], str],
) -> list[Message]:
    """Return a table's rows as turns: what each asks, as the job's own prompt has it, and the wanted answer.

    `render` gives a row's prompt, of which the system message is left out; `answer` the text wanted for the row, or a
    `ValueError` that says why it cannot be (`StructuredAnswers.example_answer`). Raises `InputError`, naming the row
    (from 0) and what is wrong with it.
    """
    turns: list[Message] = []
    for number, row in enumerate(rows):
        prompt = render(row)
        if isinstance(prompt, Failure):
            raise InputError(f"prompt.examples: row {number}: {prompt.message}")
        turns += [message for message in as_messages(prompt) if message["role"] not in _FIRST_ROLES]
        try:
            turns.append({"role": "assistant", "content": answer(row)})
        except ValueError as error:
            raise InputError(f"prompt.examples: row {number}: the wanted answer does not fit: {error}") from None
    return turns


def as_json(value: Any) -> str:
    """Return an example's wanted answer as the compact JSON text that a model should imitate."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
