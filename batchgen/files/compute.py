"""`pyarrow.compute`, imported when the first of its functions is used: that takes 45 ms and 9 MB, and a plain run uses
none."""

from __future__ import annotations

from typing import Any


class _Compute:
    """Has the functions of `pyarrow.compute`."""

    def __getattr__(self, name: str) -> Any:
        import pyarrow.compute

        return getattr(pyarrow.compute, name)


pc: Any = _Compute()
