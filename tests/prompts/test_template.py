"""Templates: the sandbox, null columns, JSON rendering, and the plain path that must equal Jinja2."""

import datetime
from decimal import Decimal

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import JobError
from batchgen.prompts import template
from batchgen.prompts.template import PromptError, Template


def render(source, **values):
    return Template("prompt.user", source).render(values)


VALUES = st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.text(max_size=3), max_size=3) | st.none()
PARTS = st.lists(
    st.sampled_from(["{{ a }}", "{{b}}", '{{ row["b c"] }}', "{{- a -}}", "{# note #}", "{% raw %}{{ a }}{% endraw %}"])
    | st.text("ab {}%#\n\r你<&>", max_size=6),
    max_size=6,
)


@given(parts=PARTS, a=VALUES, b=VALUES, c=VALUES)
def test_the_plain_path_is_jinja(parts, a, b, c):
    """Whatever the plain path renders or refuses, Jinja2 renders or refuses alike."""
    source = "".join(parts)
    try:
        compiled = Template("k", source)
    except JobError:
        return
    values = {"a": a, "b": b, "b c": c}

    def outcome():
        try:
            return compiled.render(values)
        except PromptError as error:
            return PromptError, str(error)

    first = outcome()
    compiled._parts = None
    assert outcome() == first


@given(text=st.text())
def test_row_text_is_never_expanded(text):
    """What stands in a row is data, templates included, on both paths."""
    hostile = text + "{{ a }}{% for x in y %}{# c #}"
    assert render("<{{ a }}>", a=hostile) == f"<{hostile}>"
    assert render("<{{ a | replace('', '') }}>", a=hostile) == f"<{hostile}>"


def test_plain_templates_take_the_plain_path():
    """Only text and columns: no Jinja2 at run time; anything more: Jinja2."""
    assert Template("k", 'Hi {{ a }} {{ row["b c"] }}')._plain is not None
    assert Template("k", "Hi {{ a | upper }}")._plain is None


@pytest.mark.parametrize(
    "source",
    [
        "{{ a }}",
        "{{ a | upper }}",
        "{{ 'x' ~ a }}",
        "{{ a | trim }}",
        "{{ a | tojson }}",
        "{{ [a] | join }}",
        "{{ a + 'x' }}",
        "{{ a | length }}",
        "{% for x in a %}{% endfor %}",
        "{{ a.b }}",
        "{{ a[0] }}",
        "{{ a | int }}",
        "{{ '%s' | format(a) }}",
    ],
)
def test_a_null_column_fails_by_name(source):
    """A null fails wherever it would enter the text, filters and concatenation included."""
    with pytest.raises(PromptError, match=r'prompt\.user: column "a" is null'):
        render(source, a=None)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if a is none %}no{% else %}{{ a }}{% endif %}", "no"),
        ("{% if a is not none %}{{ a }}{% endif %}.", "."),
        ("{% if a %}{{ a }}{% endif %}.", "."),
        ("{% if a == none %}no{% endif %}", "no"),
        ("{{ a or '-' }}", "-"),
        ("{{ a | default('-') }}", "-"),
        ("{{ '-' if a is none else a }}", "-"),
        ("{{ 1 if a != 'x' else 2 }}", "1"),
    ],
)
def test_a_null_column_can_be_tested(source, text):
    """A template that tests for null, or gives a default, renders."""
    assert render(source, a=None) == text


def test_nulls_inside_values():
    """A null field of an object, or member of a list, fails too."""
    with pytest.raises(PromptError, match="null"):
        render("{{ a.name | upper }}", a={"name": None})
    with pytest.raises(PromptError, match="null"):
        render("{% for x in a %}{{ x }}{% endfor %}", a=["b", None])
    with pytest.raises(PromptError, match="no attribute 'other'"):
        render("{{ a.other }}", a={"name": "x"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (0.25, "0.25"),
        (True, "True"),
        (Decimal("1.50"), "1.50"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (["a", "你", None], '["a", "你", null]'),
        ({"k": "<b>", "d": datetime.date(2024, 5, 1)}, '{"k": "<b>", "d": "2024-05-01"}'),
    ],
)
def test_values(value, text):
    """Numbers and dates as Python writes them, lists and objects as JSON, without escapes."""
    assert render("{{ a }}", a=value) == text
    if isinstance(value, (list, dict)):
        assert render("{{ a | tojson }}", a=value) == text
        assert render("{{ a | tojson(indent=2) }}", a=value).count("\n") == len(value) + 1


def test_no_escaping():
    """Nothing is escaped for HTML."""
    assert render("<p>{{ a }} {{ a | upper }}</p>", a="<&>") == "<p><&> <&></p>"


def test_fields_come_before_methods():
    """`order.items` is the field, not the method of dict."""
    assert render("{{ order.items }} {{ row.order.keys }}", order={"items": "pens", "keys": "two"}) == "pens two"
    with pytest.raises(PromptError, match="function"):
        render("{{ order.values }}", order={"items": "pens"})


def test_generators_and_bytes():
    """A generator renders as its list; binary data is refused."""
    assert render("{{ a | map('upper') }}", a=["x"]) == '["X"]'
    with pytest.raises(PromptError, match="binary"):
        render("{{ a }}", a=b"x")


def test_columns():
    """The columns are the undeclared names and those of `row`; local names and functions are not."""
    found = Template(
        "k", "{% set x = 1 %}{% for y in z %}{{ y ~ x }}{{ range(2) }}{% endfor %}{{ row['A b'] }}{{ row.c }}"
    )
    assert found.columns == {"z", "A b", "c"}
    assert Template("k", "{% for row in rows %}{{ row }}{% endfor %}").columns == {"rows"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("one\n{{ a", r"prompt\.user, line 2: "),
        ("one\n\n{{ a | nofilter }}", r"line 3: No filter named 'nofilter'"),
        ("{% if a %}", "line 1: "),
        ("x\n{% include 'f' %}", "line 2: a template cannot include"),
        ("x\n{{ row }}", "line 2: row stands for a column"),
    ],
)
def test_template_errors(source, message):
    """A template that cannot work is refused with key and line."""
    with pytest.raises(JobError, match=message):
        Template("prompt.user", source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ a.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ a.append('x') }}",
        "{{ (a | attr('format')).__globals__ }}",
        "{{ a.__class__.__name__ }}",
        "{% if a.append('x') %}{% endif %}{{ a | length }}",
        "{{ 1 / 0 }}{{ a }}",
        "{{ range(10000000) | list }}{{ a }}",
        "{{ a * 10**12 }}",
    ],
)
def test_the_sandbox(source):
    """Python's inside is out of reach, and what an expression can raise costs the row only."""
    with pytest.raises(PromptError):
        render(source, a=["x"])


def test_the_text_is_bounded(monkeypatch):
    """A text beyond the cap fails the row, on both paths."""
    monkeypatch.setattr(template, "TEXT_CAP", 100)
    assert render("{{ a }}", a="x" * 100) == "x" * 100
    for source in ("{{ a }}", "{% for i in range(90000) %}{{ a }}{% endfor %}"):
        with pytest.raises(PromptError, match="longer than 100"):
            render(source, a="x" * 101)
    with pytest.raises(PromptError, match="longer than 100"):  # at once, not after ten billion rounds
        render("{% for i in range(100000) %}{% for j in range(100000) %}{{ a }}{% endfor %}{% endfor %}", a="x")


def test_trailing_line_break():
    """As in Jinja2, one last line break of the template is dropped, none of a row's."""
    assert render("a {{ b }}\n", b="c\n") == "a c\n" == jinja2.Template("a {{ b }}\n").render(b="c\n")


def test_a_column_may_have_the_name_of_a_function():
    """A price range is more often a column than the function."""
    template = Template("prompt.user", "{{ range }}{% for i in [1] %}!{% endfor %}")
    assert template.columns == {"range"}
    assert template.render({"range": "10-20"}) == "10-20!"
    assert Template("prompt.user", "{% for i in range(2) %}{{ i }}{% endfor %}").columns == frozenset()


def test_a_name_of_two_words_is_refused_with_the_form_that_works():
    """As people write it who know other programs."""
    with pytest.raises(JobError, match=r'row\["Customer Name"\]'):
        Template("prompt.user", "{{ Customer Name }}")
