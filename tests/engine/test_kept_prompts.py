"""Prompts that may be needed again: the same come back, and few are in memory."""

from contextlib import closing

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from batchgen.engine import kept_prompts
from batchgen.engine.kept_prompts import KeptPrompts
from batchgen.values import Prompt

MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text() | st.lists(st.text())}))
PROMPTS = st.builds(Prompt, messages=MESSAGES, parameters=st.none() | st.dictionaries(st.text(), st.integers(0, 9)))


@given(st.lists(PROMPTS, max_size=12), st.randoms(use_true_random=False), st.integers(0, 3_000))
def test_every_prompt_comes_back(prompts, random, most):
    """In any order, from memory and from the file; some are forgotten without a look."""
    with closing(KeptPrompts(most=most)) as kept:  # also where a draw is given up in the middle
        held = [(prompt, kept.keep(prompt)) for prompt in prompts]
        random.shuffle(held)
        for prompt, one in held:
            if random.random() < 0.3:
                kept.take(one, wanted=False)
            else:
                assert msgspec.json.encode(kept.take(one)) == msgspec.json.encode(prompt)
        assert kept.held == 0


def test_few_are_in_memory(tmp_path):
    """However many there are; the file has no name, and is empty once all have been taken."""
    kept = KeptPrompts(tmp_path, most=100_000)
    ones = [kept.keep(Prompt(messages=[{"role": "user", "content": f"{n}" + "x" * 10_000}])) for n in range(200)]
    assert kept.held <= 100_000
    assert not list(tmp_path.iterdir())
    assert [kept.take(one).messages[0]["content"][:3].rstrip("x") for one in ones] == [f"{n}"[:3] for n in range(200)]
    assert kept.held == 0
    assert kept.keep(Prompt()).prompt is not None
    kept.close()


def test_a_prompt_that_no_disk_takes_stays_in_memory(tmp_path, monkeypatch):
    """The disk is full, or the prompt holds what has no place in a file."""
    kept = KeptPrompts(tmp_path, most=0)
    odd = Prompt(messages=[{"role": "user", "content": "x"}], parameters={"seed": 2**70})
    assert kept.take(kept.keep(odd)) is odd
    kept.close()

    def full(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_prompts.tempfile, "TemporaryFile", full)
    whole = Prompt(text="x")
    assert KeptPrompts(tmp_path, most=0).keep(whole).prompt is whole
