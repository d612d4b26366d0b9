"""How many connections this process may have open at once."""

from __future__ import annotations

import os

try:
    import resource
except ImportError:  # not a POSIX system: sockets are not counted as files there
    resource = None  # type: ignore[assignment]

RESERVE = 128
"""File descriptors kept for other uses than connections: journal, parts, input, standard streams, event loops."""


def connections_allowed(wanted: int) -> int:
    """Return how many of `wanted` connections fit, after raising the soft limit on open files as far as needed."""
    if resource is None:
        return wanted
    needed = wanted + RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            soft = limit
        except (OSError, ValueError):
            # macOS reports no hard limit although it has one (kern.maxfilesperproc): the soft limit stays as it is
            pass
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - RESERVE))


def descriptors_exhausted() -> bool:
    """Whether no file can be opened now. Name resolution fails then too, and the resolver blames the name."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return True
    return False
