"""The bar of `batchgen mail`: bytes read where the size is known beforehand, else bytes alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from batchgen.cli.progress_bar import REFRESH_S
from batchgen.mail.convert import input_size

_DELAY_S = 1.0  # small inputs are done before a bar would be read


@contextmanager
def mail_progress(
    path: str, *, shown: bool = True, file: TextIO | None = None, delay_s: float = _DELAY_S
) -> Iterator[Callable[[int], None]]:
    """Yield what `convert_mails` tells of its progress; the bar is on stderr and appears after `delay_s`."""
    bar = tqdm(
        total=input_size(path),
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        file=file if file is not None else sys.stderr,
        disable=not shown,
        dynamic_ncols=True,
        mininterval=REFRESH_S,
        delay=delay_s,
    )
    with bar:

        def moved(read_bytes: int) -> None:
            bar.update(read_bytes - bar.n)

        yield moved
