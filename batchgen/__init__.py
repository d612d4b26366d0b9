"""batchgen: a table of prompts in, every row answered once, Parquet out.

The public names are loaded when first used: `import batchgen` alone costs nothing.
"""

from __future__ import annotations

import importlib

from batchgen.errors import BatchgenError

TYPE_CHECKING = False  # as `typing` has it, which would take most of the time of this import
if TYPE_CHECKING:
    from typing import Any

    from batchgen.api import arun, run
    from batchgen.engine.summary import Summary
    from batchgen.estimating.estimate import estimate, load_estimate
    from batchgen.estimating.values import Estimate
    from batchgen.frames.run import Plan, Run, RunStopped, amap, map, plan, stream
    from batchgen.job.settings import Job, load_job
    from batchgen.results.committed import read_results
    from batchgen.results.rows import iter_results
    from batchgen.version import __version__

_HOMES = {
    "Estimate": "batchgen.estimating.values",
    "Job": "batchgen.job.settings",
    "Plan": "batchgen.frames.run",
    "Run": "batchgen.frames.run",
    "RunStopped": "batchgen.frames.run",
    "Summary": "batchgen.engine.summary",
    "__version__": "batchgen.version",
    "amap": "batchgen.frames.run",
    "arun": "batchgen.api",
    "estimate": "batchgen.estimating.estimate",
    "iter_results": "batchgen.results.rows",
    "load_estimate": "batchgen.estimating.estimate",
    "load_job": "batchgen.job.settings",
    "map": "batchgen.frames.run",
    "plan": "batchgen.frames.run",
    "read_results": "batchgen.results.committed",
    "run": "batchgen.api",
    "stream": "batchgen.frames.run",
}

__all__ = [
    "BatchgenError",
    "Estimate",
    "Job",
    "Plan",
    "Run",
    "RunStopped",
    "Summary",
    "__version__",
    "amap",
    "arun",
    "estimate",
    "iter_results",
    "load_estimate",
    "load_job",
    "map",
    "plan",
    "read_results",
    "run",
    "stream",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'batchgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
