"""Every call form that a job file can ask for, end to end: what is sent, and what is written of the reply."""

from __future__ import annotations

import json

import pytest

from batchgen.simulator import count_tokens, expected_answer
from tests.cli.conftest import results_of
from tests.cli.recorder import Recorder

TEXT_PATH = "/api/v1/services/aigc/text-generation/generation"
MULTIMODAL_PATH = "/api/v1/services/aigc/multimodal-generation/generation"
COMPATIBLE_PATH = "/compatible-mode/v1/chat/completions"
PATHS = {"dashscope": TEXT_PATH, "openai": COMPATIBLE_PATH}
BOTH = pytest.mark.parametrize("provider", ["dashscope", "openai"])

TOOL = """
[[model.parameters.tools]]
type = "function"
[model.parameters.tools.function]
name = "find_order"
description = "Look up an order."
parameters = {type = "object", properties = {number = {type = "integer"}}, required = ["number"]}
"""


class Forms:
    """Runs a job over rows against a recorded simulator."""

    def __init__(self, command, directory, simulator):
        self._command, self._directory, self._simulator = command, directory, simulator
        self._recorders = []

    def run(self, rows, prompt, *, provider, model='"qwen-plus"', more="", parameters="", code=0, **settings):
        """Write the rows and the job, run it, and return the results and the requests; check what always holds."""
        server = self._simulator(**settings)
        recorder = Recorder(server.url)
        self._recorders.append(recorder)
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (self._directory / "in.jsonl").write_text(lines, encoding="utf-8")
        base = recorder.url + ("/compatible-mode/v1" if provider == "openai" else "")
        (self._directory / "job.toml").write_text(
            f'name = "forms"\n[input]\npath = "in.jsonl"\n[prompt]\n{prompt}\n'
            f'[model]\nprovider = "{provider}"\nname = {model}\nbase_url = "{base}"\n{more}\n'
            f'[model.parameters]\n{parameters}\n[output]\npath = "out"\n',
            encoding="utf-8",
        )
        found, summary = self._command.summary("job.toml")
        assert found == code, summary
        results = results_of(self._directory / "out")[0]
        assert sum(row["attempts"] for row in results) == len(recorder.seen) == server.stats()["requests"]
        if code == 0:
            assert sum(row["output_tokens"] for row in results) == server.stats()["billed"]["output_tokens"]
        return results, recorder.seen

    def close(self):
        """Stop the recorders."""
        for recorder in self._recorders:
            recorder.close()


@pytest.fixture
def forms(command, tmp_path, simulator):
    """Run one form."""
    runs = Forms(command, tmp_path, simulator)
    yield runs
    runs.close()


def by_text(seen, provider):
    """Return the requests by their last message's text."""
    messages = [request.body["input"]["messages"] if provider == "dashscope" else request.body["messages"]
                for request in seen]  # fmt: skip
    return {asked[-1]["content"]: request for asked, request in zip(messages, seen, strict=True)}


def parameters_of(request, provider):
    """Return where the wire format has the parameters."""
    return request.body["parameters"] if provider == "dashscope" else request.body


@BOTH
def test_a_parameter_from_a_column(forms, provider):
    """Each row has its own `max_tokens`; an empty cell leaves it out."""
    rows = [{"text": "one", "cap": 5}, {"text": "two", "cap": 9}, {"text": "three", "cap": None}]
    results, seen = forms.run(
        rows, 'user = "{{ text }}"', provider=provider, parameters='max_tokens = { column = "cap" }\nseed = 7'
    )
    assert [row["output_tokens"] for row in results[:2]] == [5, 9]
    assert [row["finish_reason"] for row in results] == ["length", "length", "stop"]
    assert results[2]["completion"] == expected_answer("three")
    asked = by_text(seen, provider)
    caps = {text: parameters_of(asked[text], provider).get("max_tokens") for text in ("one", "two", "three")}
    assert caps == {"one": 5, "two": 9, "three": None}
    assert all(parameters_of(request, provider)["seed"] == 7 for request in seen)
    assert "max_tokens" not in parameters_of(asked["three"], provider)


@BOTH
def test_the_model_from_a_column(forms, provider):
    """Each row goes to its own model, and is priced by it."""
    rows = [{"text": "a", "which": "qwen-plus"}, {"text": "b", "which": "qwen-max"}]
    results, seen = forms.run(rows, 'user = "{{ text }}"', provider=provider, model='{ column = "which" }')
    asked = by_text(seen, provider)
    assert {text: request.body["model"] for text, request in asked.items()} == {"a": "qwen-plus", "b": "qwen-max"}
    assert [row["model"] for row in results] == ["qwen-plus", "qwen-max"]
    assert 0 < results[0]["cost"] / results[0]["total_tokens"] < results[1]["cost"] / results[1]["total_tokens"]


@pytest.mark.parametrize("history", [False, True])
def test_prompt_with_and_without_history(forms, history):
    """The deprecated form goes out as it is: `prompt`, with `history` as {user, bot} turns."""
    turns = [{"user": "My order is 4711.", "bot": "Noted."}]
    prompt = 'prompt = "{{ text }}"' + ('\nhistory = "turns"' if history else "")
    results, seen = forms.run([{"text": "Which order?", "turns": turns}], prompt, provider="dashscope")
    asked = {"prompt": "Which order?", "history": turns} if history else {"prompt": "Which order?"}
    assert (seen[0].path, seen[0].body["input"]) == (TEXT_PATH, asked)
    before = [{"role": "user", "content": turns[0]["user"]}, {"role": "assistant", "content": turns[0]["bot"]}]
    messages = [*(before if history else []), {"role": "user", "content": "Which order?"}]
    assert results[0]["completion"] == expected_answer(messages)


def test_prompt_and_history_as_messages_where_only_those_are_taken(forms):
    """Chat completions have no such form: the turns become messages."""
    turns = [{"user": "My order is 4711.", "bot": "Noted."}]
    prompt = 'prompt = "{{ text }}"\nhistory = "turns"'
    _, seen = forms.run([{"text": "Which order?", "turns": turns}], prompt, provider="openai")
    assert seen[0].body["messages"] == [
        {"role": "user", "content": "My order is 4711."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Which order?"},
    ]


@BOTH
def test_a_conversation_with_a_tools_result(forms, provider):
    """Messages from a column, a call and its result among them, reach the provider unchanged."""
    call = {"id": "call_1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 4711}'}}
    messages = [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "Where is order 4711?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "In the post."},
    ]
    results, seen = forms.run([{"talk": messages}], 'messages = "talk"', provider=provider)
    sent = seen[0].body["input"]["messages"] if provider == "dashscope" else seen[0].body["messages"]
    assert sent == messages
    assert results[0]["completion"] == expected_answer(messages)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_the_text_result_format(forms, stream):
    """`result_format = "text"` is asked for and read, streamed too."""
    results, seen = forms.run(
        [{"text": "hello"}], 'user = "{{ text }}"', provider="dashscope",
        more=f"stream = {stream}", parameters='result_format = "text"',
    )  # fmt: skip
    assert seen[0].body["parameters"]["result_format"] == "text"
    assert (results[0]["completion"], results[0]["finish_reason"]) == (expected_answer("hello"), "stop")


@pytest.mark.parametrize("stop", ['"."', '[".", "!"]', "[108386, 104307]", "[[108386, 103924], [35946]]"])
def test_stops_of_every_kind(forms, stop):
    """A string, strings, token ids, lists of token ids: all as they stand in the job."""
    results, seen = forms.run(
        [{"text": "hello"}], 'user = "{{ text }}"', provider="dashscope", parameters=f"stop = {stop}"
    )
    value = json.loads(stop)
    assert seen[0].body["parameters"]["stop"] == value
    words = [value] if isinstance(value, str) else [part for part in value if isinstance(part, str)]
    assert results[0]["completion"] == expected_answer("hello", stop=words)


@pytest.mark.parametrize("incremental", [True, False])
@pytest.mark.parametrize("result_format", ["message", "text"])
def test_incremental_and_cumulative_streams(forms, incremental, result_format):
    """Frames that add and frames that repeat give the same text, once."""
    results, seen = forms.run(
        [{"text": f"question {n}"} for n in range(5)], 'user = "{{ text }}"', provider="dashscope",
        more="stream = true",
        parameters=f'incremental_output = {str(incremental).lower()}\nresult_format = "{result_format}"',
    )  # fmt: skip
    assert all(request.body["parameters"]["incremental_output"] is incremental for request in seen)
    assert all(request.headers["x-dashscope-sse"] == "enable" for request in seen)
    assert [row["completion"] for row in results] == [expected_answer(f"question {n}") for n in range(5)]


@BOTH
def test_a_model_that_only_streams_is_streamed_unasked(forms, provider):
    """qwq-plus: the job says nothing of streams, no request is refused, thinking and its tokens are told apart."""
    results, seen = forms.run([{"text": "why"}] * 3, 'user = "{{ text }}"', provider=provider, model='"qwq-plus"')
    assert len(seen) == 3
    for request in seen:
        assert request.headers["accept"] == "text/event-stream"
        assert request.body.get("stream") is (True if provider == "openai" else None)
    for row in results:
        assert row["completion"] == expected_answer("why")
        assert row["reasoning"].startswith("Considering")
        assert row["reasoning_tokens"] == count_tokens(row["reasoning"])
        assert row["output_tokens"] == row["reasoning_tokens"] + count_tokens(row["completion"])


@BOTH
def test_a_model_teaches_that_it_only_streams(forms, provider):
    """Nobody knows this name: its 400 says so, the row goes again streamed, and the rest are streamed at once."""
    results, seen = forms.run(
        [{"text": f"question {n}"} for n in range(40)], 'user = "{{ text }}"', provider=provider,
        model='"surprise-1"', stream_only=("surprise*",), more="", parameters="seed = 1",
    )  # fmt: skip
    assert [row["completion"] for row in results] == [expected_answer(f"question {n}") for n in range(40)]
    plain = [n for n, request in enumerate(seen) if request.headers["accept"] != "text/event-stream"]
    assert len(seen) == 40 + len(plain)
    assert 1 <= len(plain) < 20  # those that were out when the first 400 came
    assert all(request.headers["accept"] == "text/event-stream" for request in seen[max(plain) + 1 :])


@BOTH
@pytest.mark.parametrize("stream", ["false", "true"])
def test_thinking_goes_to_its_own_columns(forms, provider, stream):
    """`enable_thinking`: text to `reasoning`, tokens to `reasoning_tokens`, the answer stays clean."""
    results, seen = forms.run(
        [{"text": "why"}], 'user = "{{ text }}"', provider=provider,
        more=f"stream = {stream}", parameters="enable_thinking = true\nthinking_budget = 500",
    )  # fmt: skip
    given = parameters_of(seen[0], provider)
    assert (given["enable_thinking"], given["thinking_budget"]) == (True, 500)
    row = results[0]
    assert row["completion"] == expected_answer("why")
    assert row["reasoning"].startswith("Considering")
    assert row["reasoning_tokens"] == count_tokens(row["reasoning"])


@BOTH
@pytest.mark.parametrize("stream", ["false", "true"])
def test_tool_calls_are_results(forms, provider, stream):
    """A call comes as JSON in `tool_calls` with finish_reason `tool_calls`; nothing is executed."""
    results, seen = forms.run(
        [{"text": "Where is my order 4711?"}], 'user = "{{ text }}"', provider=provider,
        more=f"stream = {stream}", parameters=TOOL,
    )  # fmt: skip
    assert parameters_of(seen[0], provider)["tools"][0]["function"]["name"] == "find_order"
    row = results[0]
    assert (row["status"], row["finish_reason"]) == ("succeeded", "tool_calls")
    (call,) = json.loads(row["tool_calls"])
    assert (call["type"], call["function"]["name"]) == ("function", "find_order")
    assert json.loads(call["function"]["arguments"]) == {"number": 4711}
    assert not row["completion"]


def test_a_multimodal_model_takes_the_multimodal_path(forms):
    """Text becomes a list of parts on the path for such models; the other provider has one path for all."""
    results, seen = forms.run([{"text": "hello"}], 'user = "{{ text }}"', provider="dashscope", model='"qwen3-vl-plus"')
    assert seen[0].path == MULTIMODAL_PATH
    assert seen[0].body["input"]["messages"] == [{"role": "user", "content": [{"text": "hello"}]}]
    assert results[0]["completion"] == expected_answer("hello")


@BOTH
def test_headers_and_vendor_parameters_pass_through(forms, provider):
    """The workspace header, and parameters that nobody here has heard of, go out as they are."""
    _, seen = forms.run(
        [{"text": "hello"}], 'user = "{{ text }}"', provider=provider,
        parameters='enable_search = false\nbrand_new = { depth = 2 }\n[model.headers]\nX-DashScope-WorkSpace = "ws-1"',
    )  # fmt: skip
    assert seen[0].path == PATHS[provider]
    assert seen[0].headers["x-dashscope-workspace"] == "ws-1"
    given = parameters_of(seen[0], provider)
    assert (given["enable_search"], given["brand_new"]) == (False, {"depth": 2})


@BOTH
def test_a_json_object_is_asked_for_and_given(forms, provider):
    """`response_format` goes where the wire format has it."""
    results, seen = forms.run(
        [{"text": "Answer in json: name and age of Ann, 31."}], 'user = "{{ text }}"', provider=provider,
        parameters='response_format = { type = "json_object" }',
    )  # fmt: skip
    assert parameters_of(seen[0], provider)["response_format"] == {"type": "json_object"}
    assert isinstance(json.loads(results[0]["completion"]), dict)
