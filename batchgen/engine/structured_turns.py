"""Whether a completion ends the row of a structured answer: turn by turn, with repairs, reminders and votes.

What comes after a completion is decided in `answers`; the engine sends the turns. Each has the attempts of a row of its
own (`retry.max_attempts`); what all of them were billed belongs to the row. With votes a row's samples are taken one
after the other, each with a permit of its own, since other rows fill the permits meanwhile. A turn that does not end
its row is put on record at once, so that a kill costs no finished turn: the next run reads the recorded turns again and
goes on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchgen.answers.conversation import as_json
from batchgen.answers.structured import Done, GiveUp, StructuredAnswers, TurnsUsed
from batchgen.answers.votes import Label
from batchgen.engine.row_result import RowResults
from batchgen.engine.work import AnswerTurn, DialogueState, RowInProgress, Sample
from batchgen.money.ledger import Charges
from batchgen.values import Completion, Failure, Outcome, Prompt, Result, Turn


class StructuredDialogue:
    """A row goes on until its answer fits or is given up.

    `begun` has the turns that earlier runs recorded, by row, and loses those that are taken up.
    """

    def __init__(self, answers: StructuredAnswers, results: RowResults, begun: dict[int, tuple[Turn, ...]]) -> None:
        self._answers = answers
        self._results = results
        self._begun = begun

    def resume(self, row: RowInProgress) -> tuple[Turn, ...]:
        """Read the recorded turns of a row again."""
        turns = self._begun.pop(row.row, ()) if self._begun else ()
        self.replay(row, turns)
        return turns

    def replay(self, row: RowInProgress, turns: tuple[Turn, ...]) -> None:
        """Read turns again."""
        for turn in turns:
            row.latency_ms = turn.latency_ms
            self._read(row, turn.completion)

    def next(self, row: RowInProgress, completion: Completion) -> Outcome | Charges:
        """Return the row's outcome, or the charges of a turn that is followed by another."""
        outcome = self._read(row, completion)
        return self._turn_taken(row, completion) if outcome is None else outcome

    def _turn_taken(self, row: RowInProgress, completion: Completion) -> Charges:
        """Return the turn with all that the row has cost since the one before."""
        self._results.bill(row, completion)
        assert row.billed is not None
        field = self._results.masker.field
        masked = msgspec.structs.replace(
            completion, limits=None, model=field(completion.model), request_id=field(completion.request_id)
        )
        turns = (Turn(masked, row.latency_ms),)
        charges = msgspec.structs.replace(row.billed, attempts=row.tally.requests, turns=turns)
        row.billed, row.tally.requests = None, 0
        return charges

    def _read(self, row: RowInProgress, completion: Completion) -> Outcome | None:
        """Return the row's outcome, None if another turn has been made ready."""
        state = row.dialogue
        if state is None:
            state = row.dialogue = DialogueState(row.prompt)
        step = self._answers.next(row.prompt, completion, state.used or TurnsUsed())
        label = step.answer.value if isinstance(step, Done) and isinstance(step.answer.value, Label) else None
        vote = len(state.samples) + 1 if self._answers.settings.votes > 1 else None
        problem = None if isinstance(step, Done) else step.failure.message if isinstance(step, GiveUp) else step.problem
        state.turns.append(
            AnswerTurn(completion, row.latency_ms, vote, None if label is None else label.label, problem)
        )
        if isinstance(step, Done):
            if self._answers.settings.votes > 1:
                return self._vote(row, state, Sample(label, completion, row.latency_ms), None)
            state.label = label
            return completion
        if isinstance(step, GiveUp):
            if self._answers.settings.votes > 1:
                return self._vote(row, state, Sample(None, completion, row.latency_ms), step.failure)
            state.given_up = completion
            return step.failure
        self._go_on(row, step.prompt)
        state.used = step.spent
        return None

    def _vote(
        self, row: RowInProgress, state: DialogueState, sample: Sample, failure: Failure | None
    ) -> Outcome | None:
        """Count a sample; after the last one, return one with the winning label."""
        samples = state.samples
        samples.append(sample)
        if len(samples) < self._answers.settings.votes:
            self._go_on(row, state.first)
            state.used = None
            return None
        winner = self._answers.vote([one.label for one in samples])
        if winner is None:
            state.given_up = sample.completion
            return failure
        state.label = winner
        chosen = next(one for one in samples if one.label is not None and one.label.label == winner.label)
        row.latency_ms = chosen.latency_ms
        # The usage of the chosen sample is on record with its turn, unless it is the last: only the last one's is open.
        return msgspec.structs.replace(chosen.completion, usage=sample.completion.usage)

    def _go_on(self, row: RowInProgress, prompt: Prompt) -> None:
        """Make the row's next turn ready, with all its attempts before it."""
        row.prompt, row.request, row.text = prompt, None, None
        row.tally.attempts = 0
        row.tally.stale = False

    def finish(self, row: RowInProgress, outcome: Outcome, result: Result) -> Result:
        """Return the result with how sure its label is and all its answers; one that was given up keeps its text."""
        state = row.dialogue
        if state is None:
            return result
        if len(state.turns) > 1 or (state.turns and not isinstance(outcome, Completion) and state.given_up is None):
            result = msgspec.structs.replace(result, answer_turns=as_json([*map(self._shown, state.turns)]))
        if isinstance(outcome, Completion):
            if state.label is None:
                return result
            label = state.label
            return msgspec.structs.replace(result, confidence=label.confidence, agreement=label.agreement)
        given_up = state.given_up
        if given_up is None:
            return result
        answer = self._results.masker.answer
        return msgspec.structs.replace(
            result,
            completion=answer(given_up.text if given_up.text is not None else given_up.refusal),
            reasoning=answer(given_up.reasoning),
            tool_calls=answer(given_up.tool_calls),
        )

    def _shown(self, turn: AnswerTurn) -> dict[str, Any]:
        """Return an answer as the result keeps it where it is one of several."""
        masker, completion = self._results.masker, turn.completion
        fields = {
            "vote": turn.vote,
            "label": turn.label,
            "problem": turn.problem and masker.message(turn.problem),
            "answer": masker.answer(completion.text if completion.text is not None else completion.refusal),
            "reasoning": masker.answer(completion.reasoning),
            "tool_calls": masker.answer(completion.tool_calls),
            "finish_reason": masker.words[completion.finish_reason],
            "input_tokens": completion.usage.input_tokens,
            "output_tokens": completion.usage.output_tokens,
            "latency_ms": turn.latency_ms,
            "request_id": masker.field(completion.request_id),
        }
        return {name: value for name, value in fields.items() if value is not None}
