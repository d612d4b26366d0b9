"""One row of the catalogue of errors, and the two ways to write one."""

from __future__ import annotations

import functools
import re

from msgspec import Struct

from batchgen.values import FailureKind, Throttle, Verdict


class Rule(Struct, frozen=True):
    """One row. Empty `codes`, `statuses` or `message`, which is a pattern, fit everything."""

    statuses: frozenset[int]
    codes: frozenset[str]
    message: str
    kind: FailureKind
    verdict: Verdict
    source: str
    throttle: Throttle | None = None
    setting: bool = False
    needs_stream: bool = False

    def fits(self, status: int, words: frozenset[str], said: str) -> bool:
        """Whether this row speaks about the error: `words` are its codes in lower case, `said` code and message."""
        return (
            (not self.statuses or status in self.statuses)
            and (not self.codes or not self.codes.isdisjoint(words))
            and (not self.message or _pattern(self.message).search(said) is not None)
        )


@functools.cache  # not when a row is written: to compile all takes 25 ms, and most runs meet no error
def _pattern(message: str) -> re.Pattern[str]:
    return re.compile(message, re.IGNORECASE | re.DOTALL)


def rule(
    codes: str,
    kind: FailureKind,
    verdict: Verdict,
    source: str,
    *,
    message: str = "",
    status: str = "",
    throttle: Throttle | None = None,
    setting: bool = False,
    needs_stream: bool = False,
) -> Rule:
    return Rule(
        statuses=frozenset(map(int, status.split())),
        codes=frozenset(codes.lower().split()),
        message=message,
        kind=kind,
        verdict=verdict,
        source=source,
        throttle=throttle,
        setting=setting,
        needs_stream=needs_stream,
    )


def limit(codes: str, throttle: Throttle, source: str, *, message: str = "", status: str = "") -> Rule:
    """A row for a limit that spoke: wait, at no attempt's cost."""
    return rule(
        codes, FailureKind.RATE_LIMITED, Verdict.WAIT, source, message=message, status=status, throttle=throttle
    )
