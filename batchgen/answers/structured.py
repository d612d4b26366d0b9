"""What follows each completion of a row with a structured answer, and the `parsed` column of the accepted answers.

Pure: the engine sends prompts and asks `next` what to do after each completion:

    first prompt ──> completion ──> Done | Repair(prompt) | Longer(prompt) | GiveUp(failure)
                        ^──────────────────┴───────────────┘

`TurnsUsed` is what a row has used up; usage and cost of all its turns belong to the row, which adds them up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.answers.conversation import as_json, instructed, repair_messages, worded
from batchgen.answers.enforcement import TOOL, Shaping, Target, shape_request, thinks
from batchgen.answers.kinds import Answer, AnswerKind, Invalid, LabelAnswers, SchemaAnswers, invalid
from batchgen.answers.labels import labels_instruction, labels_schema
from batchgen.answers.schema import AnswerSchema, load_schema
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.votes import Label, majority, token_confidence
from batchgen.errors import JobError
from batchgen.prompts.duplicates import dedupe_default
from batchgen.prompts.messages import as_messages
from batchgen.providers.protocol import Remark
from batchgen.values import Completion, Failure, FailureKind, Message, Prompt, Result, Status, Verdict


class TurnsUsed(Struct, frozen=True):
    """What a row has used up of its further turns."""

    repairs: int = 0
    longer: bool = False


_ROOM_TO_THINK = 2_000  # tokens; thinking of a few hundred is common, of some thousands not rare
_MOST_NAMED = 5
NO_TURNS_USED = TurnsUsed()


class Done(Struct, frozen=True):
    """The row has its answer."""

    answer: Answer


class Repair(Struct, frozen=True):
    """Send `prompt` next: the conversation goes on, with the problem told to the model."""

    prompt: Prompt
    spent: TurnsUsed
    problem: str


class Longer(Struct, frozen=True):
    """Send `prompt` next: the same once more, with more room."""

    prompt: Prompt
    spent: TurnsUsed
    problem: str = "cut at its limit of tokens, asked for once more with more room"


class GiveUp(Struct, frozen=True):
    """The row fails. `completion` has the text to be kept; the failure's usage is that of this completion alone."""

    failure: Failure
    completion: Completion


Next = Done | Repair | Longer | GiveUp


class StructuredAnswers:
    """A job's `[response]`, made ready: what is sent, how answers are read, what comes next, the `parsed` column.

    `shaping` has the parameters to merge into `model.parameters`, and the instruction; `document` is the schema in
    draft 2020-12, `written` as its author wrote it, both None for labels.
    """

    def __init__(self, settings: ResponseSettings, target: Target, schema: AnswerSchema | None = None) -> None:
        """`schema`: already read; else it is read from the file `settings.schema`.

        Raises `JobError`, naming key and fix.
        """
        settings.check()
        self.settings = settings
        self._target = target
        self._parameters = target.parameters
        self.kind: AnswerKind
        self.document: Mapping[str, Any] | None = None
        self.written: Mapping[str, Any] | None = None
        if settings.labels is not None:
            self.as_object = settings.means not in (None, "instruction") or "response_format" in target.parameters
            self.kind = LabelAnswers(settings, settings.labels, as_object=self.as_object)
            if self.as_object:
                document = labels_schema(settings.labels, multiple=settings.multiple)
                self.shaping = shape_request(document, settings.means, target, settings.instruction)
            else:
                own = settings.instruction
                text = labels_instruction(settings.labels, multiple=settings.multiple) if own is None else own
                self.shaping = Shaping("instruction", {}, text or None)
            if settings.confidence == "logprobs":
                more = {**self.shaping.parameters, "logprobs": True}
                self.shaping = msgspec.structs.replace(self.shaping, parameters=more)
        else:
            assert settings.schema is not None
            self.as_object = True
            schema = schema or load_schema(settings.schema)
            self.document, self.written = schema.document, schema.written
            self.kind = SchemaAnswers(schema)
            self.shaping = shape_request(schema.document, settings.means, target, settings.instruction)
        self.type = self.kind.type
        self._check_room()

    def _check_room(self) -> None:
        on_length = self.settings.on_length
        if on_length is None:
            return
        [(name, room)] = on_length.parameters.items()
        other = "max_tokens" if name == "max_completion_tokens" else "max_completion_tokens"
        if other in self._parameters:
            raise JobError(f"response.on_length.{name} and model.parameters.{other} exclude each other: use one name.")
        now = self._parameters.get(name)
        if isinstance(now, int) and now >= room:
            raise JobError(f"response.on_length.{name} is {room}: it must be above model.parameters.{name} ({now}).")

    @property
    def remarks(self) -> list[Remark]:
        """What `check` should say about the settings, nothing of it fatal but votes that cannot differ."""
        remarks = list(self.kind.remarks)
        if self.settings.votes > 1 and dedupe_default(self._parameters):
            text = "needs samples that can differ: leave out temperature = 0 and seed in model.parameters"
            remarks.append(Remark("response.votes", text, True))
        limit = self._parameters.get("max_tokens", self._parameters.get("max_completion_tokens"))
        if isinstance(limit, int) and limit < _ROOM_TO_THINK and thinks(self._target):
            text = f"is {limit}, and {self._target.model} thinks first: its thinking may leave no room for the answer"
            remarks.append(Remark("model.parameters.max_tokens", text, False))
        bare = [name for name, inner in _properties(self.document) if not _is_described(inner, self.document or {})]
        if bare:
            more = f" and {len(bare) - _MOST_NAMED} more" if len(bare) > _MOST_NAMED else ""
            text = f"gives no description of {', '.join(bare[:_MOST_NAMED])}{more}: the model has only the names"
            remarks.append(Remark("response.schema", text, False))
        mentions_json = self.shaping.instruction is not None and "json" in self.shaping.instruction.lower()
        if self.shaping.means == "json_object" and not mentions_json:
            text = 'leaves it to the prompt to contain the word "JSON": json_object is refused without it'
            remarks.append(Remark("response.instruction", text, False))
        return remarks

    def prepare(self, prompt: Prompt, examples: Sequence[Message] = ()) -> Prompt:
        """Return a row's prompt with the instruction; `examples` are few-shot turns (`example_turns`)."""
        return instructed(prompt, self.shaping.instruction, examples)

    def read(self, completion: Completion) -> Answer | Invalid:
        """Return the answer in a completion. A label has its confidence, if asked from logprobs."""
        if completion.refusal:
            return invalid(f"the model refused: {completion.refusal}")
        text = _answer_text(completion.text, completion.tool_calls)
        if text is None or (completion.reasoning and not text.strip()):
            after = " after the model's thinking" if completion.reasoning else ""
            return invalid(f"there is no text in the answer{after}")
        read = self.kind.read(text, complete=completion.finish_reason not in ("length", "content_filter"))
        if isinstance(read, Answer) and isinstance(read.value, Label) and self.settings.confidence == "logprobs":
            label = read.value.label
            return Answer(Label(label, token_confidence(completion.logprobs, label)), read.stage)
        return read

    def next(self, prompt: Prompt, completion: Completion, spent: TurnsUsed = NO_TURNS_USED) -> Next:
        """Return what to do after `prompt` (as it was sent) was answered by `completion`."""
        read = self.read(completion)
        if isinstance(read, Answer):
            return Done(read)
        on_length = self.settings.on_length
        if completion.finish_reason == "length":
            if on_length is None or spent.longer:
                hint = "raise max_tokens, or set response.on_length" if on_length is None else "even with more room"
                return self._give_up(read, completion, f" ({hint})")
            more = {**(prompt.parameters or {}), **on_length.parameters}
            return Longer(msgspec.structs.replace(prompt, parameters=more), TurnsUsed(spent.repairs, True))
        hopeless = completion.refusal or completion.finish_reason == "content_filter"
        if hopeless or spent.repairs >= self.settings.max_repairs:
            return self._give_up(read, completion)
        problem = worded(read.problems)
        messages = repair_messages(as_messages(prompt), completion, problem, self.kind.wanted)
        further = msgspec.structs.replace(prompt, messages=messages, text=None, history=())
        return Repair(further, TurnsUsed(spent.repairs + 1, spent.longer), problem)

    def _give_up(self, why: Invalid, completion: Completion, hint: str = "") -> GiveUp:
        at = f"at {why.path}: " if why.path else ""
        failure = Failure(
            kind=FailureKind.INVALID_OUTPUT,
            verdict=Verdict.FAIL,
            message=f"{at}{why.message}{hint}",
            http_status=completion.http_status,
            request_id=completion.request_id,
            model=completion.model,
            finish_reason=completion.finish_reason,
            usage=completion.usage,
        )
        return GiveUp(failure, completion)

    def vote(self, samples: Sequence[Label | None]) -> Label | None:
        """Return the label of a row with several samples (None: one that gave up), or None if no sample has one.

        Its confidence is the agreement, or from logprobs the mean over the samples that have the label.
        """
        winner = majority([None if sample is None else sample.label for sample in samples])
        if winner is None:
            return None
        if self.settings.confidence == "logprobs":
            sure = [
                s.confidence for s in samples if s is not None and s.label == winner.label and s.confidence is not None
            ]
            confidence = math.fsum(sure) / len(sure) if sure else None
        else:
            confidence = winner.agreement if self.settings.confidence == "votes" else None
        return Label(winner.label, confidence, winner.agreement)

    def column(self, results: Sequence[Result]) -> pa.Array:
        """Return `parsed` for a part: rebuilt from what the results keep, null where a row failed."""
        texts = [
            _answer_text(result.completion, result.tool_calls) if result.status is Status.SUCCEEDED else None
            for result in results
        ]
        return self.kind.column(results, texts)

    def example_answer(self, wanted: Any) -> str:
        """Return an example's wanted answer as the model should give it, checked against schema or labels.

        `wanted`: a label, or an object (or its JSON text). Raises `ValueError` with the first problem.
        """
        text = wanted if isinstance(wanted, str) else as_json(wanted)
        read = self.kind.read(text, complete=True)
        if isinstance(read, Invalid):
            raise ValueError(f"at {read.path or 'the top'}: {read.message}")
        if isinstance(read.value, Label):
            return as_json({"label": read.value.label}) if self.as_object else read.value.label
        return as_json(read.value if self.as_object else read.value["labels"])


def _properties(document: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """Return the properties at the top of a schema."""
    found = (document or {}).get("properties")
    return list(found.items()) if isinstance(found, Mapping) else []


def _is_described(schema: Any, document: Mapping[str, Any]) -> bool:
    """Whether a property says what it means, itself or where it points to."""
    if not isinstance(schema, Mapping) or schema.get("description") or "enum" in schema or "const" in schema:
        return True
    inner = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name and isinstance(document.get("$defs"), Mapping):
        target = document["$defs"].get(name)
        inner += [target] if isinstance(target, Mapping) and "$ref" not in target else []
    return any(isinstance(one, Mapping) and (one.get("description") or "enum" in one) for one in inner)


def _answer_text(text: str | None, tool_calls: str | None) -> str | None:
    """Return where the answer stands: the arguments of the call of our function, else the text."""
    if tool_calls is not None:
        calls = msgspec.json.decode(tool_calls)
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if (
                isinstance(function, dict)
                and function.get("name") == TOOL
                and isinstance(function.get("arguments"), str)
            ):
                arguments: str = function["arguments"]
                return arguments
    return text
