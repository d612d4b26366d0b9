"""Bounds on templates: the length of the texts that expressions make, and the steps and the time of a rendering.

The rows come from elsewhere: `{{ text * count }}` with a large count, nested loops, or a text that is doubled sixty
times would take all memory or never end. The size of a result is checked before it is made; loop iterations and calls
are counted. Texts, lists and numbers of ordinary size are never refused.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import nodes
from jinja2.environment import Environment
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

TEXT_CAP = 32 * 1024 * 1024
"""The most characters of the rendered text and of each intermediate text."""

STEP_CAP = 1_000_000
"""The most loop iterations and calls of one rendering."""

TIME_CAP_S = 10.0
"""The most seconds that one rendering may take; checked at every step."""

_ITEM_CAP = TEXT_CAP // 8
_BIT_CAP = 1 << 16
_WIDTH = re.compile(r"\d{8}")
_FORMATS = ("format", "format_map")
_WITH_WIDTHS = (*_FORMATS, "center", "ljust", "rjust", "zfill", "expandtabs", "indent", "batch", "slice", "tojson")
_COUNTED, _JOINED = "batchgen counted", "batchgen joined"

_spent = threading.local()


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with these bounds. Parsed templates have to be passed through `bounded`."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for some, times in ((left, right), (right, left)):
                if isinstance(some, (str, bytes, list, tuple)) and isinstance(times, int):
                    _check_size(some, len(some) * times)
        elif operator == "+" and isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
            _check_size(left, len(left) + len(right))
        elif operator == "%" and isinstance(left, str):
            _check_widths("format", (left, *(right if isinstance(right, tuple) else (right,))))
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if abs(left) > 1 and bits > _BIT_CAP:
                raise OverflowError("a number would have more than 20,000 digits")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        _take_steps(1)
        name = getattr(__obj, "__name__", "")
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            if name == "replace" and len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
                _check_size("", len(owner) + owner.count(args[0]) * len(args[1]))
            elif name == "join" and args:
                args = (_checked_join(owner, args[0]), *args[1:])
            elif name == "expandtabs" and args and isinstance(args[0], int):
                _check_size("", owner.count("\t") * args[0])
            _check_widths(name, (owner, *args, *kwargs.values()))
        return super().call(__context, __obj, *args, **kwargs)


def bounded(tree: nodes.Template, environment: Environment) -> nodes.Template:
    """Return a parsed template with code that counts its loop iterations and checks its joined texts."""
    found: nodes.Template = _Counting().visit(tree)
    found.set_environment(environment)
    return found


def add_filters(environment: Environment) -> None:
    """Add the bounds to every filter of the environment, and add the filters that `bounded` needs."""
    for name, function in list(environment.filters.items()):
        environment.filters[name] = _guarded(name, function)
    environment.filters[_COUNTED] = _counted
    environment.filters[_JOINED] = _joined


def start_steps() -> None:
    """Start counting the steps of a rendering in this thread."""
    _spent.steps = 0
    _spent.since_s = time.monotonic()


def _take_steps(count: int) -> None:
    steps = _spent.steps = getattr(_spent, "steps", 0) + count
    if steps > STEP_CAP:
        raise OverflowError(f"the template takes more than {STEP_CAP:,} steps (turns of loops and calls) for one row")
    if time.monotonic() - getattr(_spent, "since_s", time.monotonic()) > TIME_CAP_S:
        raise OverflowError(f"the template takes longer than {TIME_CAP_S:g} s for one row")


class _Counting(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, _COUNTED, [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, _JOINED, [], [], None, None, lineno=node.lineno)


def _counted(value: Any) -> Any:
    if isinstance(value, (list, tuple, dict, str, range)):
        _take_steps(len(value))
        return value
    return _steps(value)


def _steps(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _take_steps(1)
        yield value


def _joined(parts: list[Any]) -> str:
    texts = [str(part) for part in parts]
    _check_size("", sum(map(len, texts)))
    return "".join(texts)


def _checked_join(separator: str, parts: Any) -> Any:
    parts = list(_steps(parts))
    _check_size("", sum(len(part) + len(separator) for part in parts if isinstance(part, str)))
    return parts


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # keeps Jinja2's marks on a filter, such as that it takes the environment
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _take_steps(1)
        _check_widths(name, (*args, *kwargs.values()))
        texts = [value for value in args if isinstance(value, str)]
        if name == "replace" and len(texts) > 2:
            _check_size("", len(texts[0]) + texts[0].count(texts[1]) * len(texts[2]))
        if name == "indent" and texts:
            width = next((value for value in (*args[1:], *kwargs.values()) if type(value) is int), 4)
            _check_size("", len(texts[0]) + (texts[0].count("\n") + 1) * width)
        return function(*args, **kwargs)

    return guarded


def _check_widths(name: str, values: Iterable[Any]) -> None:
    """Raise for a width beyond the bounds, given as a number or inside a format."""
    for value in values:
        if name in _WITH_WIDTHS and isinstance(value, int) and value > _ITEM_CAP:
            raise OverflowError(f"{name} asks for more than {_ITEM_CAP:,} characters or items")
        if name in _FORMATS and isinstance(value, str) and _WIDTH.search(value):
            raise OverflowError("a format asks for a width of more than 8 digits")


def _check_size(some: Any, size: int) -> None:
    if size > (TEXT_CAP if isinstance(some, (str, bytes)) else _ITEM_CAP):
        raise OverflowError(f"a text or list would have {size:,} characters or items; {TEXT_CAP:,} is the most")
