"""Decides the reply to a request from the settings, earlier requests and the time. Only the batch APIs use files.

Requests are checked in the order of the vendors: path, key, limits, body, model. Faults depend on a hash of the seed,
the body and the number of the attempt, not on the order of arrival, so that runs with many connections are
reproducible. Every admitted request has an `Admission`, with which `settle` is called once when the reply has been
sent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from math import exp
from pathlib import Path
from statistics import NormalDist
from urllib.parse import parse_qs, urlsplit

import msgspec

from batchgen.simulator.answering import answers_to, request_id_of, unacceptable
from batchgen.simulator.batches.books import add_batches, billed_rows
from batchgen.simulator.batches.desk import BatchDesk
from batchgen.simulator.batches.oddity_names import ODDITIES
from batchgen.simulator.batches.routes import batch_reply, open_sink, route_of
from batchgen.simulator.batches.upload import BodySink
from batchgen.simulator.bodies import Reply200, models_body, stream_frames, whole_body
from batchgen.simulator.calls import CHAT_PATHS, Call, read_call
from batchgen.simulator.exchange import EVENTS, JSON, Admission, HttpRequest, Reply, error_reply
from batchgen.simulator.faults import broken_frames, drawn, failed_reply, fallen_on
from batchgen.simulator.limits import SimulatedLimits
from batchgen.simulator.messages_api import message_body, message_frames, message_limit_headers
from batchgen.simulator.prompt_cache import PromptCache
from batchgen.simulator.rules import Problem, Wire
from batchgen.simulator.settings import BLEMISHES, FAULTS, LOST, STREAM_FAULTS, TRAITS, Settings
from batchgen.simulator.stats import Billed, Stats, digest_of
from batchgen.simulator.throttling import Headers, limit_headers, throttled, wait_headers

_MODELS = ("qwen-max", "qwen-plus", "qwen-turbo", "qwen-flash", "qwq-plus", "qwen3-32b")
_NORMAL = NormalDist()


class Behaviour:
    """The simulated provider without its server. Not thread-safe."""

    def __init__(
        self,
        settings: Settings,
        now: float = 0.0,
        wall_clock: Callable[[], float] = time.time,
        directory: Path | None = None,
    ) -> None:
        self.settings = settings
        self._directory = directory  # of the batch APIs; None for a temporary one
        self._desk: BatchDesk | None = None
        self.stats = Stats()
        self._wall_clock = wall_clock  # for Retry-After as a date, and for batches
        self.wake_batches: Callable[[float], None] | None = None
        """Asks for `desk.step` after some seconds; None where batches go on when somebody looks at them."""
        self._limits = SimulatedLimits(settings, now)
        self._cache = PromptCache(settings.cache_tokens)
        self._tries: Counter[int] = Counter()
        self._served = 0  # since the start, also over a reset: `fatal_after` refers to this number

    def change(self, settings: Settings, now: float) -> None:
        """Change the settings. Limits, faults and latencies change at once; the statistics stay."""
        if settings.fatal_after != self.settings.fatal_after:
            self._served = 0
        if settings.cache_tokens != self.settings.cache_tokens:
            self._cache = PromptCache(settings.cache_tokens)
        self.settings = settings
        self._limits.apply(settings, now)
        if self._desk is not None:
            self._desk.change(settings)

    def told(self, *, prompts: bool = False) -> dict[str, object]:
        """Return the statistics (`GET /stats`)."""
        limits = self._limits
        told = self.stats.as_dict(in_flight=limits.in_flight, peak_in_flight=limits.peak_in_flight, prompts=prompts)
        if self._desk is not None or (self._directory is not None and self._directory.is_dir()):
            add_batches(told, self.desk)
        return told

    def reset_stats(self) -> None:
        """Set the statistics to zero. Limits, numbers of attempts and open connections stay."""
        connections = self.stats.connections
        self.stats = Stats(connections=connections, peak_connections=connections)
        self._limits.peak_in_flight = self._limits.in_flight

    def reply(self, request: HttpRequest, now: float) -> Reply:
        """Return the reply to any request. `now` is in seconds of a monotonic clock."""
        parts = urlsplit(request.target)
        if parts.path in CHAT_PATHS:
            return self._chat(parts.path, request, now)
        match request.method, parts.path:
            case "GET", "/stats":
                prompts = parse_qs(parts.query).get("prompts", ["0"])[-1] not in ("0", "")
                return Reply(200, body=msgspec.json.encode(self.told(prompts=prompts)))
            case "GET", "/batch-rows":
                return Reply(200, body=msgspec.json.encode(billed_rows(self.desk)))
            case "GET", "/oddities":
                return Reply(200, body=msgspec.json.encode(ODDITIES))
            case "POST", "/reset-stats":
                self.reset_stats()
                return Reply(200, body=b"{}")
            case "GET", "/settings":
                shown = {k: v for k, v in msgspec.structs.asdict(self.settings).items() if k != "api_key"}
                return Reply(200, body=msgspec.json.encode(shown))
            case "POST", "/settings":
                return self._changed(request.body, now)
            case "GET", "/v1/models" | "/compatible-mode/v1/models" | "/models":
                wire: Wire = "compatible" if parts.path.startswith("/comp") else "openai"
                refused = self._key_problem(request)
                if refused:
                    return error_reply(wire, refused, request_id_of(0, 0))
                return Reply(200, body=models_body(self.settings.models or _MODELS))
        route = route_of(parts.path)
        if route is not None:
            refused = self._key_problem(request)
            if refused:
                if request.sink is not None:
                    request.sink.abort()
                return error_reply(route.wire, refused, request_id_of(0, 0))
            return batch_reply(self.desk, route, request, _key_of(request)[1])
        wire = "native" if parts.path.startswith("/api/") else "compatible" if "/compatible" in parts.path else "openai"
        problem = Problem(404, "NotFound", f"Invalid URL ({request.method} {parts.path})")
        return error_reply(wire, problem, request_id_of(0, 0))

    @property
    def desk(self) -> BatchDesk:
        """The batch APIs, which come into being when they are used."""
        if self._desk is None:
            self._desk = BatchDesk(self.settings, self._next_attempt, self._wall_clock, self._directory)
            self._desk.wake = self.wake_batches
            self._desk.hurry()
        return self._desk

    def sink_for(self, method: str, target: str, headers: dict[str, str]) -> BodySink | None:
        """Return what takes the body of an upload; None for any other request."""
        route = route_of(urlsplit(target).path) if method == "POST" else None
        return open_sink(self.desk, route, headers) if route is not None and route.takes_file else None

    def close(self) -> None:
        """Close what the batch APIs keep."""
        if self._desk is not None:
            self._desk.close()

    def _next_attempt(self, digest: int) -> int:
        self._tries[digest] += 1
        return self._tries[digest]

    def settle(self, ticket: Admission, now: float, *, delivered: bool) -> None:
        """Finish an admitted request. `delivered`: the complete reply was written to the socket."""
        stats = self.stats
        self._limits.settle(ticket.output_tokens, now)
        if not delivered:
            stats.abandoned += 1
        if not ticket.answer and not ticket.lost:
            return
        stats.billed_lanes.setdefault(ticket.lane, Billed()).add(ticket.input_tokens, ticket.output_tokens)
        if ticket.lost or not delivered:
            stats.billed_lost.add(ticket.input_tokens, ticket.output_tokens)
            return
        stats.served += 1
        self._served += 1
        stats.billed_delivered.add(ticket.input_tokens, ticket.output_tokens)
        stats.answered[ticket.digest] += 1
        if stats.answered[ticket.digest] == 2:
            stats.answered_again += 1

    def _changed(self, body: bytes, now: float) -> Reply:
        try:
            changes = msgspec.json.decode(body, type=dict[str, object])
            changed = msgspec.convert(msgspec.structs.asdict(self.settings) | changes, Settings)
        except (msgspec.MsgspecError, ValueError) as error:
            return Reply(400, body=msgspec.json.encode({"error": str(error)}))
        self.change(changed, now)
        return Reply(200, body=b"{}")

    def _chat(self, path: str, request: HttpRequest, now: float) -> Reply:
        settings, stats = self.settings, self.stats
        wire, _ = CHAT_PATHS[path]
        stats.requests += 1
        digest = digest_of(request.body)
        if digest in stats.answered:
            stats.requests_after_answer += 1
        request_id = request_id_of(digest, stats.requests)
        if request.method != "POST":
            return self._refused(wire, Problem(405, "InvalidParameter", "Method not allowed."), request_id)
        problem = self._key_problem(request)
        if problem is not None:
            return self._refused(wire, problem, request_id)
        call = read_call(path, request.headers, request.body, settings)
        if settings.batch_chat and wire != "compatible":
            return self._refused(wire, Problem(404, "NotFound", f"Invalid URL ({path})"), request_id)
        input_tokens = call.input_tokens if isinstance(call, Call) else 1
        refusal = self._limits.admit(input_tokens, now)
        if refusal is not None:
            stats.refused[refusal.limit] += 1
            model = call.model if isinstance(call, Call) else ""
            reply = error_reply(wire, throttled(wire, refusal, model, settings), request_id)
            return msgspec.structs.replace(
                reply,
                headers=(
                    *reply.headers,
                    *self._limit_headers(wire),
                    *wait_headers(settings, refusal, self._wall_clock),
                ),
            )
        self._tries[digest] += 1
        reply = self._admitted(
            wire,
            call,
            digest,
            attempt=self._tries[digest],
            input_tokens=input_tokens,
            request_id=request_id,
            now=now,
        )
        told = self._limit_headers(wire)
        return msgspec.structs.replace(reply, headers=(*reply.headers, *told)) if told else reply

    def _admitted(
        self,
        wire: Wire,
        call: Call | Problem,
        digest: int,
        *,
        attempt: int,
        input_tokens: int,
        request_id: str,
        now: float,
    ) -> Reply:
        settings, stats = self.settings, self.stats
        no_answer = Admission(digest, input_tokens, 0, answer=False, lost=False)
        if isinstance(call, Problem):
            return self._refused(wire, call, request_id, no_answer)
        trait = fallen_on(settings, TRAITS, digest, 0)
        problem = unacceptable(call, settings, trait)
        if problem is not None:
            return self._refused(wire, problem, request_id, no_answer)
        if call.service_tier == "flex" and drawn("flex_full", settings.seed, digest, attempt) < settings.flex_full:
            stats.refused["flex"] += 1
            problem = Problem(429, "resource_unavailable", "Resource unavailable: there is no capacity for flex now.")
            return msgspec.structs.replace(error_reply(wire, problem, request_id), ticket=no_answer)
        fault = fallen_on(settings, FAULTS, digest, attempt)
        if attempt <= settings.fail_first:
            fault = "error_500"
        if fault in STREAM_FAULTS and not call.stream:
            fault = None
        if fault is not None:
            stats.faults[fault] += 1
        wait_s = settings.latency_ms / 1000 + settings.hold_s * settings.batch_chat
        if settings.latency_sigma and wait_s:
            point = min(max(drawn("latency", settings.seed, digest, attempt), 1e-9), 1 - 1e-9)
            wait_s *= exp(settings.latency_sigma * _NORMAL.inv_cdf(point))
        failed = failed_reply(wire, fault, request_id)
        if failed is not None:
            return msgspec.structs.replace(failed, wait_s=wait_s, ticket=no_answer)

        answers = answers_to(call, settings, trait, fallen_on(settings, BLEMISHES, digest, attempt) or "")
        if answers[0].blemish:
            stats.faults[answers[0].blemish] += 1
        cached = self._cache.cached_tokens(call, input_tokens, now, now + wait_s) if wire != "anthropic" else 0
        stats.cached_tokens += cached
        good = Reply200(
            call,
            answers,
            input_tokens,
            request_id,
            with_usage=not settings.no_usage,
            null_content=fault == "null_content",
            cached_tokens=cached,
        )
        output_tokens = good.output_tokens
        lane = "batch-chat" if settings.batch_chat else "flex" if call.service_tier == "flex" else "live"
        ticket = Admission(
            digest, input_tokens, output_tokens, answer=fault != "stream_error", lost=fault in LOST, lane=lane
        )
        headers = (("request-id" if wire == "anthropic" else "x-request-id", request_id),)
        writing_s = output_tokens / settings.tokens_per_s if settings.tokens_per_s else 0.0
        if fault == "hang":
            return Reply(200, wait_s=settings.hang_s, fault=fault, ticket=ticket)
        if call.stream:
            told = list(message_frames(good)) if wire == "anthropic" else stream_frames(good)
            frames = broken_frames(wire, told, fault, request_id)
            return Reply(
                200,
                (EVENTS, *headers),
                frames=tuple(frames),
                wait_s=wait_s,
                frame_s=writing_s / len(frames),
                fault=fault,
                ticket=ticket,
            )
        body = message_body(good) if wire == "anthropic" else whole_body(good)
        if fault == "malformed":
            body = body[: len(body) // 2] + b"\n"
        return Reply(200, (JSON, *headers), body, wait_s=wait_s + writing_s, fault=fault, ticket=ticket)

    def _refused(self, wire: Wire, problem: Problem, request_id: str, ticket: Admission | None = None) -> Reply:
        self.stats.errors[problem.code] += 1
        return msgspec.structs.replace(error_reply(wire, problem, request_id), ticket=ticket)

    def _key_problem(self, request: HttpRequest) -> Problem | None:
        settings = self.settings
        kind, key = _key_of(request)
        fatal = settings.fatal_after is not None and self._served >= settings.fatal_after
        if fatal and settings.fatal_error == "arrearage":
            return Problem(400, "Arrearage", "Access denied, please make sure your account is in good standing.")
        valid = bool(key) and kind.lower() == "bearer" and (settings.api_key is None or key == settings.api_key)
        return None if valid and not fatal else Problem(401, "InvalidApiKey", "Invalid API-key provided.")

    def _limit_headers(self, wire: Wire) -> Headers:
        if self.settings.headers and wire == "anthropic":
            return message_limit_headers(self._limits, self._wall_clock())
        return limit_headers(self._limits) if self.settings.headers and wire == "openai" else ()


def _key_of(request: HttpRequest) -> tuple[str, str]:
    """Return how a key was sent, and the key. Anthropic and Azure have headers of their own, and take the usual one."""
    headers, target = request.headers, request.target
    for start, name in (("/v1/messages", "x-api-key"), ("/openai/", "api-key")):
        if target.startswith(start) and name in headers:
            return "bearer", headers[name].strip()
    kind, _, key = headers.get("authorization", "").partition(" ")
    return kind, key.strip()
