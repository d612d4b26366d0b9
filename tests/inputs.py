"""Inputs of tests: a table of texts, and what the test's job asks for each."""

from __future__ import annotations

import csv


def messages(text):
    """What the test's job asks for a row."""
    return [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}]


def write_csv(path, texts):
    """Write a CSV with an id and a text column."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([f"r{n}", text] for n, text in enumerate(texts))
    return path
