"""Structured answers: what is asked for, how it is read, what comes next, and the column it becomes.

The engine and the writer use `StructuredAnswers` alone. The other modules are pure functions of texts and values.
"""

from batchgen.answers.conversation import example_turns, instructed
from batchgen.answers.enforcement import Shaping, Target
from batchgen.answers.kinds import Answer, Invalid
from batchgen.answers.reading import Stage, object_in
from batchgen.answers.schema import AnswerSchema, load_schema
from batchgen.answers.settings import OnLength, ResponseSettings
from batchgen.answers.structured import Done, GiveUp, Longer, Next, Repair, StructuredAnswers, TurnsUsed
from batchgen.answers.votes import Label, Vote
from batchgen.prompts.duplicates import RepeatCount, dedupe_default

__all__ = [
    "Answer",
    "AnswerSchema",
    "Done",
    "GiveUp",
    "Invalid",
    "Label",
    "Longer",
    "Next",
    "OnLength",
    "Repair",
    "RepeatCount",
    "ResponseSettings",
    "Shaping",
    "Stage",
    "StructuredAnswers",
    "Target",
    "TurnsUsed",
    "Vote",
    "dedupe_default",
    "example_turns",
    "instructed",
    "load_schema",
    "object_in",
]
