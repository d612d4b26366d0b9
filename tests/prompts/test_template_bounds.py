"""What a template may do: texts and loops beyond all bounds fail their row at once, ordinary ones are untouched."""

import time

import pytest

from batchgen.prompts.template import PromptError, Template

ENDLESS = [
    "{{ text * 1000000000 }}",
    "{{ 1000000000 * text }}",
    "{{ (text * 30000000) + (text * 30000000) }}",
    "{{ [text] * 1000000000 }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:1000000000}'.format(text) }}",
    "{{ '{:{}}'.format(text, 1000000000) }}",
    "{{ text.ljust(1000000000) }}",
    "{{ text.center(1000000000) }}",
    "{{ text | center(1000000000) }}",
    "{{ text | indent(1000000000, first=true) }}",
    "{{ '%1000000000s' | format(text) }}",
    "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "{{ ('b' * 1000000).join(range(1000) | map('string')) }}",
    "{{ ('\\t' * 100000).expandtabs(100000) }}",
    "{% set n = namespace(x=text) %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=text) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% for a in range(99999) %}{{ text * 1000 }}{% endfor %}",
]


@pytest.mark.parametrize("source", ENDLESS)
def test_endless_templates(source):
    """What would take all memory or never end fails with a sentence, within seconds."""
    template = Template("prompt.user", source)
    since_s = time.process_time()
    with pytest.raises(PromptError, match=r"prompt\.user"):
        template.render({"text": "word"})
    assert time.process_time() - since_s < 12


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ text * 3 }}{{ 2 * 3 }}", "wordwordword6"),
        ("{% for x in rows %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}", "1/2:a 2/2:b "),
        ("{% for k, v in map.items() %}{{ k ~ '=' ~ v }}{% else %}none{% endfor %}", "n=1"),
        ("{% for x in rows | reverse %}{{ x ~ loop.last }}{% endfor %}", "bFalseaTrue"),
        ("{{ '%05.1f' % 2.25 }} {{ '{:>6}'.format(text) }} {{ text | center(8) }}|", "002.2   word   word  |"),
        ("{{ ', '.join(rows) }} {{ rows | join('-') }} {{ text.replace('o', '0') }}", "a, b a-b w0rd"),
        ("{{ map.get('n') + 999999999 }} {{ 123456789 * 1000 }}", "1000000000 123456789000"),
        ("{{ rows + ['c'] }}", '["a", "b", "c"]'),
        ("{{ range(3) | list }} {{ (range(100000) | list)[99999] }}", "[0, 1, 2] 99999"),
    ],
)
def test_ordinary_templates(source, text):
    """The bounds change nothing about templates of ordinary size."""
    assert Template("prompt.user", source).render({"text": "word", "rows": ["a", "b"], "map": {"n": 1}}) == text


def test_each_row_has_its_own_steps():
    """Steps are counted for one row, not over all of them."""
    template = Template("prompt.user", "{% for a in range(50000) %}{% endfor %}{{ text }}")
    assert [template.render({"text": "word"}) for _ in range(25)] == ["word"] * 25
