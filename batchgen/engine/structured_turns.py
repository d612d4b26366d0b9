"""Structured answers in the completer: a row goes on, turn by turn, until its answer fits or is given up.

What comes after a completion is `answers`' decision; here the turns are sent. Each has the attempts of a row of its
own (`retry.max_attempts`); what all of them were billed belongs to the row. With votes a row's samples are taken one
after the other, each with a permit of its own, since other rows fill the permits meanwhile. A turn that does not settle
its row is kept at once, so that a kill costs no finished turn: the next run reads the kept ones again and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from batchgen.answers import Done, GiveUp, Label, StructuredAnswers, TurnsUsed
from batchgen.engine.attempt import Completer
from batchgen.engine.work import Dialogue, RowInProgress, Sample
from batchgen.money.ledger import Charges
from batchgen.values import Completion, Failure, Outcome, Prompt, Result, Turn


class StructuredCompleter(Completer):
    """A completer whose attempts end with an answer that fits; built with a completer's parts.

    `keep` takes a turn that does not settle its row, with what was sent and billed for it; `begun` has the turns that
    earlier runs kept, by row, and loses those that are taken up.
    """

    def __init__(
        self,
        answers: StructuredAnswers,
        *,
        keep: Callable[[Charges], None],
        begun: dict[int, tuple[Turn, ...]],
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self._answers = answers
        self._keep = keep
        self._begun = begun

    async def attempt(self, work: RowInProgress, *, retry: bool = False) -> Outcome:
        """Send the row's turn, and the turns after it, until one ends the row or fails; raises what an attempt raises.

        A failure that another try can mend is the turn's: trying again goes on with that turn.
        """
        for turn in self._begun.pop(work.row, ()) if self._begun else ():
            work.latency_ms = turn.latency_ms
            self._read(work, turn.completion)  # it asks for the next turn again, as it did when it was kept
        while True:
            outcome = await super().attempt(work, retry=retry)
            if isinstance(outcome, Failure):
                return outcome
            final = self._read(work, outcome)
            if final is not None:
                return final
            self._keep_turn(work, outcome)
            retry = False

    def _keep_turn(self, work: RowInProgress, completion: Completion) -> None:
        """Have the turn stored, with all that the row has cost since the one before."""
        self._bill(work, completion.usage)
        assert work.billed is not None
        names = {"model": self._masked(completion.model), "request_id": self._masked(completion.request_id)}
        turn = Turn(msgspec.structs.replace(completion, limits=None, **names), work.latency_ms)
        self._keep(msgspec.structs.replace(work.billed, attempts=work.tally.requests, turns=(turn,)))
        work.billed, work.tally.requests = None, 0

    def _read(self, work: RowInProgress, completion: Completion) -> Outcome | None:
        """Return the row's outcome, None if another turn has been made ready."""
        dialogue = work.dialogue
        if dialogue is None:
            dialogue = work.dialogue = Dialogue(work.prompt)
        step = self._answers.next(work.prompt, completion, dialogue.spent)
        if isinstance(step, Done):
            label = step.answer.value if isinstance(step.answer.value, Label) else None
            if self._answers.settings.votes > 1:
                return self._vote(work, dialogue, Sample(label, completion, work.latency_ms), None)
            dialogue.label = label
            return completion
        if isinstance(step, GiveUp):
            if self._answers.settings.votes > 1:
                return self._vote(work, dialogue, Sample(None, completion, work.latency_ms), step.failure)
            dialogue.kept = completion
            return step.failure
        self._go_on(work, step.prompt)
        dialogue.spent = step.spent
        return None

    def _vote(self, work: RowInProgress, dialogue: Dialogue, sample: Sample, failure: Failure | None) -> Outcome | None:
        """Count a sample; after the last one, return one with the winning label."""
        samples = dialogue.samples
        samples.append(sample)
        if len(samples) < self._answers.settings.votes:
            self._go_on(work, dialogue.first)
            dialogue.spent = TurnsUsed()
            return None
        winner = self._answers.vote([one.label for one in samples])
        if winner is None:
            dialogue.kept = sample.completion
            return failure
        dialogue.label = winner[0]
        chosen = next(one for one in samples if one.label is not None and one.label.label == winner[0].label)
        work.latency_ms = chosen.latency_ms
        # The chosen sample's own usage was kept with it, unless it is the last: the last one's is what is still open.
        return msgspec.structs.replace(chosen.completion, usage=sample.completion.usage)

    def _go_on(self, work: RowInProgress, prompt: Prompt) -> None:
        """Make the row's next turn ready, with all its attempts before it."""
        work.prompt, work.request = prompt, None
        work.tally.attempts = 0
        work.tally.stale = False

    def result(self, work: RowInProgress, outcome: Outcome) -> Result:
        """What is recorded for the row; an answer that was given up keeps its text."""
        result = super().result(work, outcome)
        dialogue = work.dialogue
        if dialogue is None:
            return result
        if isinstance(outcome, Completion):
            label = dialogue.label
            if label is None:
                return result
            return msgspec.structs.replace(result, confidence=label.confidence, agreement=label.agreement)
        kept = dialogue.kept
        if kept is None:
            return result
        text = kept.text if kept.text is not None else kept.refusal
        return msgspec.structs.replace(
            result,
            completion=self._keyless(text),
            reasoning=self._keyless(kept.reasoning),
            tool_calls=self._keyless(kept.tool_calls),
        )
