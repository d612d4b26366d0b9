"""All scenes that the pace is judged by, against other policies: `python -m tests.benchmarks.pace_table`.

    python -m tests.benchmarks.pace_table [--seeds 5] [--only FAMILY] [--write]

Everything is in virtual time, so that the figures do not depend on the machine. `--write` puts the table into the
manual, with machine and versions. The other policies are stopped at thirty times what the ideal sender takes.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from pathlib import Path

from batchgen.version import __version__
from tests.pace.judge import judge, passes
from tests.pace.policies import OTHERS
from tests.pace.scenes import CASES

PAGE = Path(__file__).parents[2] / "batchgen" / "manual" / "pace.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
TIMES = 30.0


def aim(case):
    """What the case is judged by, in a few words."""
    parts = [f"{case.util:.2f}".lstrip("0")] if case.util else []
    if case.refused < 1:
        parts.append(f"≤ {100 * case.refused:.0f} %")
    if case.worst:
        parts.append(f"worst ≤ {case.worst} × median")
    if case.fair:
        parts.append("fair")
    return ", ".join(parts)


def shown(verdict):
    """Utilisation and the share that was refused."""
    return f"{verdict.util:.2f} / {100 * verdict.refused:.1f} %" + (
        f", {verdict.lost:.0f} lost" if verdict.lost else ""
    )


def line(case, seeds):
    """Play one case with all policies; return its line of the table."""
    ours = judge(case.scene, case.seeds)
    met = "yes" if passes(case, ours) else "no"
    notes = f", worst {ours.ratio:.1f} ×" if case.worst else ""
    notes += f", shares {ours.spread:.1f} ×" if case.fair else ""
    others = [shown(judge(case.scene, range(1, seeds + 1), policy, TIMES)) for policy in OTHERS.values()]
    return f"| {case.family}: {case.name} | {aim(case)} | {met} | {shown(ours)}{notes} | {' | '.join(others)} |"


def main():
    """Print the table, or write it into the manual."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="of the other policies; ours has those of the scene")
    parser.add_argument("--only", default="", help="scenes whose family or name has this in it")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    names = " | ".join(OTHERS)
    lines = [
        f"| scene | aim | met | batchgen | {names} |",
        "|---|---|---|---" + "|---" * len(OTHERS) + "|",
    ]
    print("\n".join(lines))
    for case in CASES:
        if options.only in f"{case.family}: {case.name}":
            lines.append(line(case, options.seeds))
            print(lines[-1], flush=True)
    where = f"batchgen {__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    lines.append(
        f"\nMean of {options.seeds} seeds; of batchgen 30 where the worst is judged and with bans, and as many as"
        f" make 2,000 rows in short jobs; {where}."
    )
    print(lines[-1], file=sys.stderr)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        table = "\n".join([BEGIN, *lines, END])
        PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
