"""HTML of mails to text: what is shown, and what would be too much."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("selectolax")

from batchgen.mail.html import TooDeepError, html_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<p>Hello   <b>support</b>,</p>\n<p>line one<br>line two &amp; more&nbsp;x</p>",
            "Hello support,\n\nline one\nline two & more x",
        ),
        ("a<br><br><br><br><br>b", "a\n\n\nb"),
        ("<div>a</div><div>b</div><div><div>c</div></div>", "a\nb\nc"),
        ("<ul><li>first<li>second</ul>after", "- first\n- second\nafter"),
        ("<table><tr><td>OS</td><td>Linux</td></tr><tr><th>V</th><td>3</td></tr></table>", "OS | Linux\nV | 3"),
        ("<table><tr><td><table><tr><td><p>Layout</p></td></tr></table></td></tr></table>", "Layout"),
        (
            "new<blockquote type=cite>old<blockquote>older</blockquote></blockquote>end",
            "new\n\n> old\n>\n> > older\n\nend",
        ),
        ("<pre>a  b\n  c</pre>", "a  b\n  c"),
        ("<style>p{}</style><script>x()</script><!-- c --><title>t</title>shown", "shown"),
        ('<div style="display: none">preheader</div><p hidden>x</p>shown', "shown"),
        ('<img alt="logo"><img src=x><img alt="">', "[logo]"),
        ("in<i>side</i> a <span> word </span>", "inside a word"),
        ("cut <p>off <b>in the mid", "cut\n\noff in the mid"),
        ("&#8203;pad&shy;ded&zwnj;", "padded"),
        ("plain text", "plain text"),
        ("<ol><li>one<ul><li>x</li></ul></li><li>two</li></ol>", "1. one\n- x\n2. two"),
        ('<ol start="3"><li>one<li value="7">two<li>three</ol>', "3. one\n7. two\n8. three"),
        ("<ul><li><p>one</p></li><li>\n <div>two</div></li><li></li></ul>", "- one\n\n- two\n-"),
        ("<p>10<sup>2</sup> m<sup>2</sup>, 5<sup>th</sup>, H<sub>2</sub>O</p>", "10² m², 5th, H2O"),
        ('<p>a<sup hidden>2</sup>b<sup><a href="https://x.example"> <b>1</b></a></sup></p>', "ab 1"),
        ('<p>a<sup style="display:none">2</sup>, 10<sup><b>2</b></sup></p>', "a, 10²"),
        ('<div style="white-space: pre-wrap">a\n  b</div>', "a\n  b"),
        ('<p style="white-space:pre-line">a\nb</p>\nc\nd', "a\nb\n\nc d"),
        ("<xmp>a\n<b>b</xmp>", "a\n<b>b"),
        ("<a href='https://x.example'><button>Confirm</button></a>", "Confirm"),
        ("before <tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr>", "before\na | b\n1 | 2"),
        (
            "<p>to</p><tr><td>a</td><td>b</td></tr>then<tr><td>c</td></tr><p>Regards</p>",
            "to\n\na | b\nthen\nc\n\nRegards",
        ),
        ("<td>a</td> <td>b</td><p>Regards</p>", "a | b\n\nRegards"),
        ("<tr><td>a<td>b<tr><td>c", "a | b\nc"),
        (
            "<table><tr><td><p>Name</p></td><td><p>Ann</p></td></tr>"
            "<tr><td><div>Age<br></div></td><td><div>34</div></td></tr></table>",
            "Name | Ann\nAge | 34",
        ),
        (
            "<table><tr><td></td><th>Q1<th>Q2</tr><tr><td>North<td><td>3</tr><tr><td>South<td>4<td> </table>",
            "| Q1 | Q2\nNorth | | 3\nSouth | 4",
        ),
        (
            "<table><tr><td><p>left</p><p>more</p></td><td><p>right</p></td></tr></table>",
            "left\n\nmore\n\nright",
        ),
        ("<ul><li></li></ul><p>after</p>", "-\n\nafter"),
        ("<object><p>Shown</p></object>", "Shown"),
        ("He said <q>yes</q>", 'He said "yes"'),
        ("", ""),
        ("<frameset><frame src=x></frameset>", ""),
        ("Ünïcödé 漢字", "Ünïcödé 漢字"),
    ],
)
def test_text_is_what_a_person_sees(html, text):
    """Paragraphs, breaks, lists, tables, quotes; nothing hidden, nothing invented."""
    assert html_text(html) == text


def test_text_below_a_thousand_elements_is_not_lost():
    """Long threads nest deep."""
    assert html_text("<div>" * 1000 + "x" + "</div>" * 1000 + "<p>end</p>") == "x\n\nend"


@pytest.mark.parametrize(
    "html",
    [
        "<p>" + "".join(f"<font a={n}>" for n in range(500)) + "<p>x" * 20_000,  # each p opens all the fonts anew
        "<div>" * 100_000,  # 40 s by the square of the depth
    ],
)
def test_html_that_would_explode_is_refused(html):
    """In a fraction of a second and with a sentence."""
    begun = time.process_time()
    with pytest.raises(TooDeepError, match="nests"):
        html_text(html)
    assert time.process_time() - begun < 5


def test_a_long_newsletter_is_read():
    """Closed elements do not add up to a depth."""
    row = "<tr><td><font color=red><b>Hello</b></font></td><td><p>text</p></td></tr>"
    assert html_text(f"<table>{row * 3000}</table>").count("Hello") == 3000


@given(
    st.lists(
        st.sampled_from(
            [
                "<b>",
                "</b>",
                "<td>",
                "<table>",
                "</table>",
                "<p>",
                "</pre>",
                "<pre>",
                "<li>",
                "<a",
                "x",
                "&lt;",
                "<!--",
                "</blockquote>",
                "<blockquote>",
                "<br>",
                "<svg>",
                "<template>",
                "\x00",
            ]
        ),
        max_size=40,
    ).map("".join)
)
@settings(max_examples=200, deadline=None)
def test_any_soup_becomes_text(html):
    """Nothing raises, and quotes never go below zero."""
    html_text(html).encode()


def test_superscripts_in_superscripts_are_read_once():
    """However much stands in them."""
    begun = time.process_time()
    html_text("<sup>" * 1_000 + "x" * 2_000_000)
    assert time.process_time() - begun < 1
