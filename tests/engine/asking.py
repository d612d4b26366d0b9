"""One row's way through attempts, dialogue and result, over a scripted transport and without a pool of workers."""

import random
from functools import partial
from types import SimpleNamespace

from batchgen.engine.attempt import Attempts
from batchgen.engine.dialogue import PlainDialogue
from batchgen.engine.endpoints import Site
from batchgen.engine.masking import Masker
from batchgen.engine.model_requests import ModelRequests
from batchgen.engine.provider_health import ProviderHealth
from batchgen.engine.row_result import RowResults
from batchgen.engine.structured_turns import StructuredDialogue
from batchgen.engine.work import RowInProgress
from batchgen.engine.workers import Workers
from batchgen.job.settings import LimitSettings
from batchgen.money.budget import Budget
from batchgen.money.prices import load_prices
from batchgen.money.reservation import Reservations
from batchgen.pace.limiter import Limiter
from batchgen.pace.pacer import Pacer
from batchgen.pace.retry import AttemptCounts, RetryPolicy, RetrySettings
from batchgen.pace.values import Limits
from batchgen.providers import open_provider
from batchgen.providers.protocol import ModelSettings
from batchgen.secret import Secrets
from batchgen.transport.reply_memory import Room
from batchgen.values import Failure, FailureKind, Prompt, Response, Verdict
from tests.transport.conftest import bearer

URL = "http://127.0.0.1:1/compatible-mode/v1"
PRICE = load_prices().find("qwen-plus", "international")
PARAMETERS = {"max_tokens": 16, "enable_thinking": False}
BROKEN = Response(500, {}, b'{"error":{"message":"oops","type":"server_error","code":null}}')
LOST = Failure(FailureKind.NETWORK, Verdict.RETRY, "cut", maybe_billed=True)


class Transport:
    """Answers as told; keeps what it was sent."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests, self.timeouts_s = [], []
        self.room = Room()

    async def send(self, request, *, timeout_s):
        self.requests.append(request)
        self.timeouts_s.append(timeout_s)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Clock:
    """A clock that stands still unless moved."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s

    async def sleep(self, seconds):
        self.now_s += seconds


NO_SECRETS = Secrets()


def row_to_ask():
    """A row that asks something."""
    return RowInProgress(7, Prompt(messages=[{"role": "user", "content": "What colour?"}]), AttemptCounts())


def engine_of(transport, budget, limiter, *, retry=None, parameters=PARAMETERS, secrets=NO_SECRETS, note=print, seed=1):
    """Return workers and attempts over a transport, as an engine puts them together, with plain answers."""
    results = RowResults("qwen-plus", lambda model: PRICE, Masker(secrets), wall_ns=lambda: 5_000)
    reservations = Reservations(
        budget, price_of=lambda model: PRICE, model="qwen-plus", parameters=parameters, currency="USD"
    )
    retry = RetryPolicy(retry or RetrySettings(), random.Random(seed))
    settings = ModelSettings(name="qwen-plus", base_url=URL, parameters=parameters)
    attempts = Attempts(
        sites=[
            Site(ModelRequests(open_provider("openai", settings), "qwen-plus", stream=False), transport, limiter.pacer)
        ],
        limiter=limiter,
        reservations=reservations,
        health=ProviderHealth("test", LimitSettings(), 900.0),
        results=results,
        retry=retry.settings,
        note=note,
    )
    return Workers(attempts, PlainDialogue(), results, retry, limiter), attempts, results, retry


class Asking:
    """Asks one row after the other. `kept` are the charges put on record for turns that were followed by others."""

    def __init__(self, *answers, cap=None, parameters=PARAMETERS, patience_s=900.0, key=None, note=print, attempts=3):
        self.clock = Clock()
        self.transport = Transport(*answers)
        self.limiter = Limiter(Pacer(Limits(concurrency=8), random.Random(1), self.clock()), self.clock)
        self.budget = Budget(cap)
        self.workers, self.attempts, self.results, self.retry = engine_of(
            self.transport,
            self.budget,
            self.limiter,
            retry=RetrySettings(max_attempts=attempts, rate_limit_patience_s=patience_s),
            parameters=parameters,
            secrets=NO_SECRETS if key is None else bearer(key),
            note=note,
        )
        self.kept = []
        self.dialogue = PlainDialogue()
        self.workers._out = SimpleNamespace(spend=self.kept.append)

    def for_structured(self, answers, begun=None):
        """Have answers read as structured ones; `begun` are the turns that an earlier run recorded, by row."""
        self.dialogue = StructuredDialogue(answers, self.results, begun or {})
        self.workers = Workers(self.attempts, self.dialogue, self.results, self.retry, self.limiter)
        self.workers._out = SimpleNamespace(spend=self.kept.append)
        return self

    async def attempt(self, row, *, retry=False):
        return await self.workers._ask(row, retry=retry)

    async def again(self, row, failure, sleep):
        return await self.retry.run(failure, partial(self.attempt, row, retry=True), row.tally, sleep)

    def result(self, row, outcome):
        return self.dialogue.finish(row, outcome, self.results.result(row, outcome))
