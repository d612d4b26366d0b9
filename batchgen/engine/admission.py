"""What becomes of a rendered row: asked, or answered by an earlier run or by another row of this one."""

from __future__ import annotations

from batchgen.engine.deduplication import Sharing
from batchgen.engine.work import RowInProgress
from batchgen.job.reuse import Reuse
from batchgen.pace.retry import AttemptCounts
from batchgen.providers.request_key import RequestKeys
from batchgen.providers.request_parts import last_text, text_as_sent
from batchgen.values import Prompt, Result


class RowAdmission:
    """Gives each row the key of its request, by which an answer to the same request is found."""

    def __init__(self, keys: RequestKeys, sharing: Sharing | None = None, reuse: Reuse | None = None) -> None:
        self._key_of = keys.of
        self._keys_of = keys.all
        self._reuse = reuse
        self._sharing = sharing

    def __call__(self, row: int, prompt: Prompt, words: str | None = None) -> RowInProgress | Result | None:
        """Return the row to be asked, its result where that is known, or None if it comes with another row's.

        `words` is given for a prompt that is known to be plain messages with this text of the user at the end.
        """
        key_of = self._key_of
        text = last_text(prompt) if words is None else text_as_sent(words)
        key = key_of(prompt, text)
        if self._reuse is not None:
            for each in self._keys_of(key):
                known = self._reuse.result(row, each, prompt)
                if known is not None:
                    return known
        work = RowInProgress(row, prompt, AttemptCounts(), key=key, text=text)
        return work if self._sharing is None else self._sharing.admit(work)
