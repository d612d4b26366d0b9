"""The page: whole in itself, safe against what rows and vendors write, readable by everybody."""

import re
from collections import Counter
from html.parser import HTMLParser
from importlib import resources

import msgspec
import pytest

from batchgen.estimating.values import read_estimate
from batchgen.report.html import page as page_of
from batchgen.report.read import read_report
from batchgen.report.sections import run_document
from tests.report.estimates import estimate
from tests.report.runs import failed_row, hand_made, real_run, row


def report_html(report, evaluation=None):
    """Return the page of one run."""
    return page_of([run_document(report, evaluation)])


INJECTIONS = (
    "<script>alert(1)</script>",
    "</svg><img src=http://evil.example/x onerror=alert(1)>",
    "\"'><style>body{background:url(http://evil.example)}</style>",
    "</title></style></table><h1>x</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eoverride\u2066 \x00\x1b[31m\x9b",
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart: tags with their attributes, ids, and text by the tag that holds it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "a tag is never closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else None, " ".join(data.split())))

    def said(self):
        """All text but the style sheet's."""
        return " ".join(text for tag, text in self.texts if tag != "style")

    def table(self, caption):
        """The rows of the table with this caption, as lists of cells."""
        at = self.texts.index(("caption", caption))
        return [text for _, text in self.texts[at + 1 :]]


def check_contained(text):
    """No script, nothing fetched, ids unique, references met, every drawing named, every figure with its table."""
    assert text.startswith("<!doctype html>")
    page = Page(text)
    names = Counter(tag for tag, _ in page.tags)
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "base", "a", "use", "image"} & set(names)
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"src", "href", "xlink:href", "action", "srcset", "background"}, (tag, name)
            assert name == "aria-label" or "url(" not in (value or ""), (tag, name)
    style = "".join(part for tag, part in page.texts if tag == "style")
    assert names["style"] == 1
    assert "url(" not in style
    assert "@import" not in style
    assert len(set(page.ids)) == len(page.ids), "an id is used twice"
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-labelledby"] in page.ids
    assert len(re.findall("<svg", text)) == names["svg"]
    assert names["figure"] == names["figcaption"] == names["details"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    return page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run through faults."""
    return real_run(tmp_path_factory.mktemp("run"), error_500=0.03, length=0.1)


def test_a_real_run(run):
    """The page has every section, and its figures are the report's."""
    told, settings = read_estimate(estimate(rows=150)), {"model.name": "qwen-plus", "limits.budget": None}
    report = msgspec.structs.replace(read_report(run), estimate=told, settings=settings)
    page = check_contained(report_html(report))
    said = page.said()
    for heading in (
        *(
            "Over time",
            "Tokens and latency",
            "How the rows ended",
            "Failed rows",
            "Cut answers",
            "Pace and rate limits",
        ),
        *("Estimate against actual", "Rows that stand out", "Rows by group", "Job and run"),
    ):
        assert heading in said
    assert f"{report.totals.input_tokens:,}" in said
    assert "142 succeeded, 8 failed" in said
    for line in report.errors:
        assert line.row_id in said
        assert line.message in said
    assert page.table("Slowest rows")[7] == report.slowest[0].row_id
    assert "model.name" in said
    assert "limits.budget" not in said, "a setting that is not set says nothing"


def test_the_bars_of_a_histogram_add_up_to_all_rows(run):
    """What the drawing tells on hovering is what was counted."""
    report = read_report(run)
    bars = re.findall(r"tokens: ([\d,]+) rows?</title>", report_html(report))
    shown = sum(int(rows.replace(",", "")) for rows in bars)
    assert shown == report.input_tokens.quantiles.rows + report.output_tokens.quantiles.rows


@pytest.mark.parametrize("bad", INJECTIONS)
def test_foreign_text_stays_text(tmp_path, bad):
    """Markup, templates and control characters in every text that rows, vendors or jobs bring."""
    rows = [row(0, row_id=bad, model=bad, finish_reason=bad)]
    rows += [row(1, row_id=bad, finish_reason="length")]
    rows += [failed_row(2, row_id=bad, error_kind=bad, error_code=bad, error_message=bad, model=bad)]
    directory = hand_made(
        tmp_path / "out",
        rows,
        job=bad,
        settings={bad: bad, "list": [bad]},
        estimate=estimate(input_method=bad, output_method=bad),
        error={"kind": "ProviderStop", "message": bad},
        limited_by=bad,
        currency=bad,
    )
    page = check_contained(report_html(read_report(directory)))
    assert "49" not in page.said().split(), "a template in a row is not run"
    if bad.isprintable():
        assert bad in page.said()


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [[]],
        [[failed_row(n, latency_ms=None, finished_at=None) for n in range(3)]],
        [[row(0)]],
        [[row(n, cost=None, input_tokens=None, output_tokens=0) for n in range(3)]],
        [[row(n, input_tokens=10**n, latency_ms=10.0**-n, finished_at=10**15 + 10 ** (n + 6)) for n in range(9)]],
    ],
    ids=["no part", "no rows", "failed only", "one row", "no usage", "wide"],
)
def test_odd_runs_have_a_page(tmp_path, parts):
    """Whatever is missing is left out."""
    page = check_contained(report_html(read_report(hand_made(tmp_path / "out", *parts))))
    assert "nan" not in page.said().lower().split()


def test_a_page_does_not_grow_with_the_rows(tmp_path):
    """Ten times the rows, groups, errors and time: about as large a page."""

    def size(name, count):
        rows = [row(n, input_tokens=n + 1, finish_reason="length") for n in range(count)]
        rows += [failed_row(count + n, error_code=f"E{n}", model=f"m{n}") for n in range(count)]
        return len(report_html(read_report(hand_made(tmp_path / name, rows))))

    assert size("many", 3000) < 1.2 * size("few", 300) < 300_000


def luminance(colour):
    """WCAG 2 relative luminance of #rrggbb."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_in_both_schemes():
    """Text and lines stand out at 4.5 to 1 from page and card, light and dark."""
    style = resources.files("batchgen.report").joinpath("page.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{([^}]*)\}", style)
    ]
    assert len(schemes) == 2
    assert schemes[0].keys() == schemes[1].keys()
    for scheme in schemes:
        for name in ("ink", "soft", "s1", "s2", "s3", "good", "fill"):
            for ground in ("page", "card"):
                bright, dark = sorted((luminance(scheme[name]), luminance(scheme[ground])), reverse=True)
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, (name, ground)
