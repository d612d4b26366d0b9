"""Measure token counting: speed on prose, exotic text, the pacer's guess, and the script rule's band on given files.

    python tests/benchmarks/tokens.py [FILE ...]

Files are any UTF-8 texts; without them a few kilobytes of prose are repeated. Prints medians; nothing is asserted.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from batchgen.tokens.count import counter_for, rough_tokens, text_bound
from batchgen.tokens.scripts import count_by_script
from batchgen.values import Prompt

PROSE = (
    "Dear support team, my name is Laura and I bought the blue lamp from your shop on Monday. When I opened the box "
    "the shade was cracked and one screw was missing. Could you send me a new shade, or should I return the whole "
    "lamp? I would like to use it before my parents visit us at the end of the month, so please let me know soon.\n"
    "你好,我上周在你们店里买的耳机到现在还没有收到,物流信息三天没有更新了。能不能帮我查一下?如果丢件了请直接退款,谢谢!\n"
)
PIECE = 2_500


def seconds(call, repeat=7):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(files):
    counter = counter_for("qwen-plus")
    print(f"counter: {counter!r} {counter.note or ''}")
    texts = [Path(file).read_text("utf-8") for file in files] or [PROSE * 100]
    pieces = [text[i : i + PIECE] for text in texts for i in range(0, len(text), PIECE)]
    prompts = [Prompt(messages=[{"role": "user", "content": piece}]) for piece in pieces]
    total = sum(map(counter.count, prompts))
    for name, call in {
        "exact, prompts of 2,500 characters": lambda: [counter.count(prompt) for prompt in prompts],
        "exact, whole texts": lambda: [counter.count_text(text) for text in texts],
        "by script": lambda: [count_by_script(piece) for piece in pieces],
        "upper bound": lambda: [text_bound(piece.encode()) for piece in pieces],
    }.items():
        print(f"{name}: {total / seconds(call) / 1e6:.2f} M tokens/s")
    body = pieces[0]
    print(f"rough guess: {seconds(lambda: [rough_tokens(body) for _ in range(10_000)]) * 100:.3f} µs")
    for name, text in {
        "1 M blanks": " " * 1_000_000,
        "10 MB of a": "a" * 10_000_000,
        "10 MB of =": "=" * 10_000_000,
    }.items():
        print(f"{name}: {seconds(lambda text=text: counter.count_text(text), 1):.2f} s")
    ratios = sorted(counter.count_text(piece) / count_by_script(piece) for piece in pieces if len(piece) > PIECE // 10)
    low, middle, high = (ratios[int(share * (len(ratios) - 1))] for share in (0.025, 0.5, 0.975))
    print(f"true count / rule over {len(ratios)} pieces: {low:.2f} (2.5 %) {middle:.2f} (median) {high:.2f} (97.5 %)")


if __name__ == "__main__":
    main(sys.argv[1:])
