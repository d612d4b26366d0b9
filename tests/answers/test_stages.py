"""Which stage saves how many of the rows whose answers come broken: the table of the README, held by a test.

`python -m tests.answers.test_stages` prints it for 1,000 rows.
"""

from __future__ import annotations

from collections import Counter

from batchgen.answers.enforcement import Target
from batchgen.answers.schema import AnswerSchema
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.structured import Done, StructuredAnswers
from batchgen.simulator import BLEMISHES
from batchgen.simulator.answers import compose
from batchgen.simulator.faults import drawn
from batchgen.values import Completion, Prompt, Usage

SCHEMA = {
    "type": "object",
    "properties": {
        "customer": {"type": ["string", "null"]},
        "count": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["order", "complaint", "question"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["customer", "count", "kind", "tags"],
}
JSON_BLEMISHES = [name for name in BLEMISHES if name != "wrong_label"]
TURNS = ("first", "second", "third")


def stages(rows, rate):
    """Return blemish → how its rows ended: the stage that read the first answer, the turn that fitted, or given up.

    Every row's first answer has the blemish; further turns have one, any of them, at `rate`.
    """
    settings = ResponseSettings(schema="a.json", max_repairs=2)
    answers = StructuredAnswers(
        settings, Target(provider="openai", base_url="http://x"), AnswerSchema(SCHEMA, "a.json")
    )
    table = {}
    for blemish in JSON_BLEMISHES:
        ends = table[blemish] = Counter()
        for row in range(rows):
            text = f"Message {row}: a complaint about {row} items.\nKind regards,\nAnn Smith"
            prompt = answers.prepare(Prompt(messages=[{"role": "user", "content": text}]))
            spent, befalls = None, blemish
            for turn in TURNS:
                said = compose(prompt.messages, seed=row, blemish=befalls)
                completion = Completion(said.text, said.finish_reason, Usage())
                step = answers.next(prompt, completion, *([] if spent is None else [spent]))
                if isinstance(step, Done):
                    ends[step.answer.stage.value if turn == "first" else f"{turn} turn"] += 1
                    break
                if not hasattr(step, "prompt"):
                    ends["given up"] += 1
                    break
                prompt, spent = step.prompt, step.spent
                point = drawn(f"{blemish} {turn}", 0, row, 0)
                befalls = JSON_BLEMISHES[int(point / rate * len(JSON_BLEMISHES))] if point < rate else ""
    return table


def test_form_is_mended_for_nothing_and_content_by_a_turn():
    """Fences, prose, commas and quotes cost no turn; what is missing or wrong does, and few rows are given up."""
    table = stages(60, 0.2)
    assert table["fenced"] == {"fenced": 60}
    assert table["wrapped"] == {"embedded": 60}
    assert table["trailing_comma"] == table["single_quoted"] == {"repaired": 60}
    for blemish in ("cut_json", "wrong_type", "missing_field"):
        assert table[blemish]["second turn"] > 45
        assert table[blemish]["second turn"] + table[blemish]["third turn"] + table[blemish]["given up"] == 60
        assert table[blemish]["given up"] <= 3


if __name__ == "__main__":
    columns = ["fenced", "embedded", "repaired", "second turn", "third turn", "given up"]
    print(f"{'1,000 answers each':18}", *(f"{name:>12}" for name in columns))
    for name, ends in stages(1000, 0.2).items():
        print(f"{name:18}", *(f"{ends[column]:12,}" for column in columns))
