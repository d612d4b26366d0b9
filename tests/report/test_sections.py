"""One description of a report for terminal and page: what one shows, the other shows too."""

import re
from html import unescape

import msgspec
import pytest

from batchgen.evaluation.labels import Cell
from batchgen.evaluation.sections import confusion_matrix
from batchgen.report.html import page
from batchgen.report.read import read_report
from batchgen.report.sections import run_document, runs_document
from batchgen.storage.batch_table import BatchShown
from batchgen.text.sections import Chart, Facts, Note, Passages, Table, sections_text
from tests.report.runs import failed_row, hand_made, real_run, row


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run through faults."""
    return real_run(tmp_path_factory.mktemp("run"), error_500=0.03, length=0.1)


def words(block):
    """Yield every text of a block."""
    match block:
        case Facts():
            for fact in block.facts:
                yield from (fact.name, fact.value, fact.detail)
        case Note():
            yield block.text
        case Table():
            yield from (block.title, block.note, *block.head, *(cell for line in block.rows for cell in line))
        case Chart():
            yield from (block.title, block.caption)
        case Passages():
            yield from (block.title, block.note)
            for passage in block.passages:
                yield from (passage.head, *passage.text.splitlines())


def test_terminal_and_page_show_the_same(run):
    """Every text of every section is on both."""
    document = run_document(read_report(run))
    text = " ".join(sections_text(document).split())
    shown = " ".join(unescape(re.sub(r"<[^>]*>", " ", page([document]))).split())
    for section in document.sections:
        assert section.title in text
        assert section.title in shown
        for block in section.blocks:
            for word in words(block):
                assert " ".join(word.split()) in text
                assert " ".join(word.split()) in shown


def test_what_a_reader_must_know_stands_first(run):
    """Model, price, currency and whether it was simulated come before any figure."""
    text = sections_text(run_document(read_report(run)))
    head = text[: text.index("\nrows ")]
    for word in (
        "complete, simulated",
        "qwen-plus",
        "per million tokens",
        "currency      USD",
        "charged       nothing",
    ):
        assert word in head
    assert "answer to row r1" in text


def test_several_runs_are_summed_by_currency(tmp_path):
    """Money of two currencies, or simulated and real, is never added; chart names stay unique."""
    dollars = [read_report(hand_made(tmp_path / f"usd{n}", [row(0), row(1)])) for n in range(2)]
    euros = read_report(hand_made(tmp_path / "eur", [row(0), failed_row(1)], currency="EUR"))
    reports = [*dollars, euros]
    text = sections_text(runs_document(reports))
    assert "0.0002080 USD (of all runs" in text
    assert "0.00005200 EUR (of all runs" in text
    html = page([runs_document(reports), *(run_document(r, prefix=f"r{n}-") for n, r in enumerate(reports))])
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids)) > 10


def test_confusion_is_a_matrix():
    """Gold down, answers across; what does not fit is added up, and every row is in it once."""
    cells = [Cell(f"label {gold}", f"label {answer}", gold + answer + 1) for gold in range(20) for answer in range(20)]
    table = confusion_matrix(cells)
    assert len(table.rows) == 13
    assert {len(line) for line in table.rows} == {14} == {len(table.head)}
    shown = sum(int(cell.replace(",", "")) for line in table.rows for cell in line[1:] if cell != "·")
    assert shown == sum(cell.rows for cell in cells)
    small = confusion_matrix([Cell("a", "b", 3), Cell("a", "a", 1)])
    assert small.rows == [["1 a", "1", "3"], ["2 b", "·", "·"]]


def test_batches_are_a_section_of_text_and_page(run):
    """As `batchgen batches` lists them; a run without any has no such section."""
    plain = read_report(run)
    shown = BatchShown(number=1, state="cleaned", rows=300, id="batch_7", word="completed", answered=298)
    document = run_document(msgspec.structs.replace(plain, batches=[shown]))
    [section] = [one for one in document.sections if one.title == "Batches"]
    assert {"batch_7", "298", "cleaned"} <= {word for block in section.blocks for word in words(block)}
    assert "Batches" not in [one.title for one in run_document(plain).sections]
