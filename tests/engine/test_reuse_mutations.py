"""Ten thousand random changes of jobs and rows: an answer is taken for the very same request, and for no other."""

import json
import random
from collections import Counter
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from batchgen.errors import JobError
from batchgen.job.endpoint import Endpoint
from batchgen.job.requests import request_parts
from batchgen.job.reuse import Reuse
from batchgen.job.settings import parse_job
from batchgen.storage.answer_index import AnswerIndex
from batchgen.storage.earlier_runs import EarlierAnswer, EarlierRun
from batchgen.storage.identity import RunIdentity
from batchgen.storage.run_state import fingerprints
from batchgen.values import Failure

MUTATIONS = 10_000
JOBS = 100
ROWS = MUTATIONS // JOBS
CARRY = {"stream", "stream_options", "incremental_output", "service_tier"}
ROUTES = ["", "/v1", "/deployments/a/v1", "/deployments/b/v1"]


def first_job(rng):
    return {
        "name": "job",
        "input": {"path": "rows.csv"},
        "prompt": {"system": "Be brief.", "user": "{{ text }} / {{ kind }}"},
        "model": {
            "provider": rng.choice(["openai", "dashscope"]),
            "name": "qwen-plus",
            "base_url": f"https://{rng.choice('ab')}.test{rng.choice(ROUTES)}",
            "parameters": {"max_tokens": 20, "temperature": 0.5, "stop": ["a", "b"], "deep": {"er": [1, {"x": None}]}},
            "headers": {"X-Workspace": "w"},
        },
        "output": {"path": "out"},
    }


def change_of_job(job, rng):
    """Change one thing, or nothing that counts."""
    parameters, model, prompt = job["model"]["parameters"], job["model"], job["prompt"]
    kind = rng.randrange(16)
    if kind == 0:
        prompt["system"] = rng.choice(["Be brief.", "Be brief. ", "Be  brief.", "", "be brief."])
    elif kind == 1:
        prompt["user"] = rng.choice(["{{ text }} / {{ kind }}", "{{ text }}/{{ kind }}", "{{ kind }} / {{ text }}"])
    elif kind == 2:
        parameters[rng.choice(["max_tokens", "seed", "top_k"])] = rng.randrange(1, 4)
    elif kind == 3 and len(parameters) > 1:
        del parameters[rng.choice(sorted(parameters))]
    elif kind == 4:
        parameters["temperature"] = rng.choice([0, 0.5, 1, {"column": "heat"}])
    elif kind == 5:
        parameters["deep"] = {"er": [1, {"x": rng.choice([None, False, 0, "0", ""])}]}
    elif kind == 6:
        parameters["stop"] = rng.choice([["a", "b"], ["b", "a"], ["ab"], "a"])
    elif kind == 7:
        model["name"] = rng.choice(["qwen-plus", "qwen-max", "qwen-plus-latest", {"column": "model"}])
    elif kind == 8:
        model["provider"] = rng.choice(["openai", "dashscope"])
    elif kind == 9:
        model["base_url"] = f"https://{rng.choice('abc')}.test{rng.choice(ROUTES)}"
    elif kind == 10:
        model["headers"] = rng.choice([{}, {"X-Workspace": "w"}, {"x-workspace": "w"}, {"X-Workspace": "v"}])
    elif kind == 11:
        labels = rng.choice([["yes", "no"], ["no", "yes"], ["yes", "no", "maybe"]])
        job["response"] = {"labels": labels, "votes": rng.choice([1, 3]), "max_repairs": rng.randrange(3)}
    elif kind == 12:
        job.pop("response", None)
    elif kind == 13:
        model["stream"] = rng.choice([True, False])
        parameters[rng.choice(sorted(CARRY))] = rng.choice([True, "flex", {}])
    elif kind == 14:
        model["omit"] = rng.choice([[], ["stream_options"]])
        job["limits"] = {"concurrency": rng.randrange(1, 9)}
        job["retry"] = {"max_attempts": rng.randrange(1, 9)}
    else:
        model["parameters"] = dict(rng.sample(sorted(parameters.items()), len(parameters)))


def row(rng):
    return {
        "text": rng.choice(["one", "One", "one ", "two", "two\n", "é", "e\u0301", "{{ kind }}", "1"]),
        "kind": rng.choice(["a", "b", "", "1"]),
        "heat": rng.choice([0, 0.5, 1, None]),
        "model": rng.choice(["qwen-plus", "qwen-max"]),
    }


def meaning(job, request):
    """What the server is told and how its answer is read, taken down apart from the code under test."""
    body = json.loads(request.body)

    def told(value, depth=0):
        if isinstance(value, dict):
            return {k: told(v, depth + 1) for k, v in value.items() if depth > 1 or k not in CARRY}
        return value

    headers = {name.lower(): value for name, value in request.headers.items()}
    route = next((part for part in urlsplit(request.url).path.split("/") if part in ("a", "b")), None)
    response = {k: v for k, v in job.get("response", {}).items() if k != "max_repairs"}
    body = told(body)
    limit = body.pop("max_tokens", None) or body.get("parameters", {}).pop("max_tokens", None)
    parts = [job["model"]["provider"], body, headers.get("x-workspace"), route, response]
    return json.dumps(parts, sort_keys=True), limit


def acceptable(limit, earlier):
    """Whether an answer that came under a limit can stand under another one."""
    then, tokens, finish, turns = earlier
    if then == limit:
        return True
    complete = finish == "stop" and "length" not in (turns or "")
    return complete and (limit is None or tokens <= limit or (then is not None and then < limit))


def asked(job, rows):
    """Yield (what a row asks, the key of its request, its prompt)."""
    parsed = parse_job(json.loads(json.dumps(job)), "job.toml")
    parts = request_parts(parsed, Endpoint(parsed.model.base_url, None, "here"))
    for values in rows:
        prompt = parts.template.render(values)
        assert not isinstance(prompt, Failure)
        request = parts.provider.build_request(prompt, stream=parsed.model.stream)
        yield meaning(job, request), parts.keys.of(prompt), prompt


class NoRules:
    """As much of a job as reuse looks at, where every answer would be accepted."""

    answers = None
    currency = None
    model = "m"
    endpoint = Endpoint("https://a.test", None, "here")
    fingerprint: ClassVar = {"model": {"base_url": "here"}}

    @staticmethod
    def price_of(model):
        return None


@pytest.mark.parametrize(("seed", "labelled"), [(1, False), (2, True)])
def test_no_answer_is_taken_for_another_request(tmp_path, seed, labelled):
    """And none is missed that could be taken; the oracle compares what was sent, not keys."""
    rng = random.Random(seed)
    index = AnswerIndex(tmp_path / "earlier.sqlite", shared=True)
    known = {}
    found = Counter()
    job = first_job(rng)
    if labelled:
        job["response"] = {"labels": ["yes", "no"], "votes": 3}
    answers = []
    for limit in (20, 2, None):
        job["model"]["parameters"].pop("max_tokens", None)
        if limit is not None:
            job["model"]["parameters"]["max_tokens"] = limit
        for (meant, _), key, _ in asked(job, [row(rng) for _ in range(ROWS)]):
            text = f"answer {len(answers)}"
            finish = rng.choice(["stop", "stop", "length"])
            tokens = limit if finish == "length" and limit else rng.randrange(1, 25 if limit is None else limit + 1)
            turns = rng.choice([None, None, '[{"finish_reason":"length"},{"finish_reason":"stop"}]'])
            known.setdefault(meant, {})[text] = limit, tokens, finish, turns
            answers.append(
                EarlierAnswer(
                    key, 0, len(answers), text, None, None, finish, None, tokens, *[None] * 3, "m", text, None, 200,
                    answer_turns=turns,
                )
            )  # fmt: skip
    index.add(answers)
    index.sort()
    run = EarlierRun(tmp_path, RunIdentity("x", fingerprints({"model.base_url": "here"})), None)
    reuse = Reuse(NoRules, [run], index, 0.0, "run")
    start = json.dumps(job)
    while found.total() < MUTATIONS:
        job = json.loads(start)
        for _ in range(rng.randrange(3)):
            change_of_job(job, rng)
        try:
            requests = list(asked(job, [row(rng) for _ in range(ROWS)]))
        except JobError:
            continue  # no run would begin
        for (meant, limit), key, prompt in requests:
            result = reuse.result(0, key, prompt)
            wanted = [text for text, earlier in known.get(meant, {}).items() if acceptable(limit, earlier)]
            got = None if result is None else result.completion
            found["reused" if got else "asked"] += 1
            assert got in (wanted or [None]), (meant, limit, got)
    index.close()
    assert found.total() == MUTATIONS
    assert min(found["reused"], found["asked"]) > MUTATIONS / 10


def test_answers_under_the_keys_of_an_earlier_version_are_found(tmp_path):
    """They are looked for only where there are such; the limit was a part of these keys."""
    job = first_job(random.Random(1))
    job["model"]["parameters"]["max_tokens"] = 20
    parsed = parse_job(job, "job.toml")
    keys = request_parts(parsed, Endpoint(parsed.model.base_url, None, "here")).keys
    [(_, key, prompt)] = asked(job, [{"text": "one", "kind": "a"}])
    index = AnswerIndex(tmp_path / "earlier.sqlite", shared=True)
    old = EarlierAnswer(keys.before.of(prompt), 0, 1, "kept", None, None, "stop", *[None] * 5, "m", "r", None, 200)
    index.add([old])
    index.sort()
    parts = type("Parts", (NoRules,), {"keys": keys})
    reuse = Reuse(parts, [EarlierRun(tmp_path, RunIdentity("x"), None)], index, 0.0, "run")
    result = reuse.result(7, key, prompt)
    assert (result.row, result.completion, result.request_key) == (7, "kept", key.hex())
    job["model"]["parameters"]["max_tokens"] = 21
    parsed = parse_job(job, "job.toml")
    parts.keys = request_parts(parsed, Endpoint(parsed.model.base_url, None, "here")).keys
    assert reuse.result(7, parts.keys.of(prompt), prompt) is None
    index.close()
