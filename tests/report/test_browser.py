"""The page in a real browser: nothing is cut on a telephone or on paper, and labels keep apart."""

import msgspec
import pytest

from batchgen.estimating.values import read_estimate
from batchgen.evaluation.labels import Cell
from batchgen.evaluation.sections import confusion_matrix
from batchgen.report.estimate import estimate_page
from batchgen.report.html import page
from batchgen.report.read import read_report
from batchgen.report.sections import run_document, runs_document
from batchgen.text.sections import Document, Section
from tests.report.estimates import estimate
from tests.report.runs import real_run

CUT = """() => [...document.querySelectorAll('.scroll, .key div, dd, td, th, h1, h3, p, figure')]
  .filter(one => one.scrollWidth > one.clientWidth + 4 && getComputedStyle(one).display != 'inline')
  .map(one => one.tagName + ' ' + one.textContent.trim().slice(0, 60))"""
COLLISIONS = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([a, one], n) => boxes.slice(n + 1).filter(([b, other]) => one.width && other.width
    && one.left < other.right - 1 && other.left < one.right - 1 && one.top < other.bottom - 2
    && other.top < one.bottom - 2).map(([b]) => svg.id + ': ' + a + ' / ' + b)); })"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with everything on it, long names and wide tables among them."""
    folder = tmp_path_factory.mktemp("page")
    directory = real_run(folder, rows=400, error_500=0.03, length=0.1)
    told = estimate(rows=400)
    settings = {"model.name": "qwen-plus", "response.schema": "x" * 190, "a.very.long.key.of.a.job.file": "y" * 190}
    report = msgspec.structs.replace(read_report(directory), estimate=read_estimate(told), settings=settings)
    labels = ["how_to", "feature_request", "a label of three words", "billing", "bug", "praise", "other", "(no answer)"]
    matrix = confusion_matrix([Cell(gold, answer, 1_234) for gold in labels for answer in labels])
    documents = [
        runs_document([report, report]),
        run_document(report),
        Document("matrix", [], [Section("m", [matrix])]),
        estimate_page(report.estimate),
    ]
    path = folder / "page.html"
    path.write_text(page(documents), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 820, 1280, 1900])
def test_nothing_is_cut_and_no_labels_collide(address, browser, width, scheme):
    """On telephones, tablets and desktops, light and dark."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    shown = context.new_page()
    shown.goto(address)
    assert shown.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert shown.evaluate(CUT) == []
    assert shown.evaluate(COLLISIONS) == []
    context.close()


def test_paper(address, browser):
    """Printed from a dark screen it is dark on white, and nothing is wider than the paper."""
    context = browser.new_context(viewport={"width": 700, "height": 1000}, color_scheme="dark")
    shown = context.new_page()
    shown.goto(address)
    shown.emulate_media(media="print", color_scheme="dark")
    assert shown.evaluate("getComputedStyle(document.body).color") == "rgb(22, 25, 29)"
    assert shown.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert shown.evaluate(CUT) == []
    assert len(shown.pdf(format="A4")) > 10_000
    context.close()
