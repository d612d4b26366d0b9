"""The pieces of streamed tool calls → whole calls.

`index` and `id` are what servers make of them: some give every call index 0, leave either out, repeat an id, or send it
empty. So a piece begins a new call only if it names a function and its id is new or absent; else it belongs to the call
last begun at its index, as does the first name of a call that was begun by its id alone. Each piece costs the same,
however many came before.
Names in pieces (https://github.com/continuedev/continue/pull/5849) look like two calls where no id tells them apart:
which it is, the tools of the request say.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from batchgen.text.storable import whole_value

_ARGUMENTS = ("arguments", "input", "args", "parameters")


class _Call:
    """One call as far as it has come; `arguments` are the pieces of their JSON text."""

    __slots__ = ("arguments", "fields", "function", "id", "name", "size")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []
        self.size = 0
        self.function: dict[str, Any] = {}
        self.fields: dict[str, Any] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take one piece."""
        self.id = self.id or _identity(piece)
        for name, value in piece.items():
            if name != "index" and (value or name not in self.fields) and not self.fields.get(name):
                self.fields[name] = value
        function = piece.get("function")
        if not isinstance(function, dict):
            return
        for name, value in function.items():
            if name == "name" and isinstance(value, str):
                self._add_name(value)
            elif name == "arguments" and value is not None:
                self._add_arguments(value)
            elif not self.function.get(name):
                self.function[name] = value

    def _add_name(self, name: str) -> None:
        if name.startswith(self.name):  # the first one, or a name that grows
            self.name = name
        elif not self.size and not self.name.startswith(name):
            self.name += name

    def _add_arguments(self, value: Any) -> None:
        text = value if isinstance(value, str) else json_text(value)
        whole_again = len(text) == self.size > 1 and text.endswith("}") and text == "".join(self.arguments)
        if not whole_again:
            self.arguments.append(text)
            self.size += len(text)

    @property
    def is_complete(self) -> bool:
        """Whether the arguments may have come to their end."""
        last = next((piece.rstrip() for piece in reversed(self.arguments) if piece.strip()), "")
        return last.endswith("}")

    def goes_on_in(self, piece: Mapping[str, Any]) -> bool:
        """Whether a piece with a new id is more of this call all the same: its arguments are cut, and go on there."""
        function = piece.get("function")
        more = function.get("arguments") if isinstance(function, dict) else None
        if not (self.size and isinstance(more, str) and more.strip()) or self.is_complete:
            return False
        return function is not None and function.get("name") == self.name and not more.lstrip().startswith("{")

    def name_with(self, other: _Call) -> str:
        """Return the name of which this call's is the beginning and the other's the rest, or all so far."""
        return other.name if other.name.startswith(self.name) else self.name + other.name

    def absorb(self, other: _Call) -> None:
        """Take a call that is the rest of this one."""
        name = self.name_with(other)
        self.add({**other.fields, "function": {"arguments": "".join(other.arguments)}})
        self.name = name

    def whole(self) -> dict[str, Any]:
        """Return the call in the form of chat completions."""
        call = dict(self.fields)
        if isinstance(call.get("function"), dict):
            members = {**call["function"], **self.function}
            if self.name or "name" in members:
                members["name"] = self.name or members["name"]
            if self.arguments:
                members["arguments"] = _said_once(self.arguments)
            call["function"] = members
        return call


class ToolCalls:
    """The tool calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._at: dict[tuple[int | None, int], _Call] = {}  # index → the call last begun there
        self._named: dict[tuple[int | None, str], _Call] = {}  # index and id → call

    def replace(self, calls: Iterable[Any]) -> None:
        """Take whole calls in place of all that came before."""
        self.__init__()  # type: ignore[misc]
        for call in calls:
            if isinstance(call, dict):
                begun = _Call()
                begun.add(_with_function(call))
                self._calls.append(begun)

    def add(self, pieces: Iterable[Any]) -> None:
        """Take the pieces of one frame."""
        for position, piece in enumerate(pieces):
            if isinstance(piece, dict):
                index = piece.get("index")
                self._add(_with_function(piece), index if isinstance(index, int) else None, position)

    def _add(self, piece: Mapping[str, Any], index: int | None, position: int) -> None:
        identity = _identity(piece)
        place = (index, 0 if index is not None else position)
        function = piece.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        call = self._at.get(place)
        if call is None and not name and identity is None and self._calls:
            call = self._calls[-1]  # arguments under an index of their own
        elif identity is not None and (index, identity) in self._named:
            call = self._named[index, identity]
        elif call is not None and name and self._begins(call, str(name), identity, piece):
            call = None
        if call is None:
            call = _Call()
            self._calls.append(call)
        call.add(piece)
        self._at[place] = call
        if identity is not None:
            self._named[index, identity] = call

    @staticmethod
    def _begins(call: _Call, name: str, identity: str | None, piece: Mapping[str, Any]) -> bool:
        """Whether a piece that names a function begins a call after this one; its id is new or absent."""
        function = piece["function"]
        if identity is not None:
            return (call.id is not None or call.size > 0 or call.name != name) and not call.goes_on_in(piece)
        if not call.name:
            return False
        if call.size:
            again = call.id is not None and function.get("arguments") == "".join(call.arguments)
            return call.name != name or (call.is_complete and not again)
        # without arguments so far: a name in pieces, or said once more with the first of them
        return call.name != name and (call.id is None or bool(function.get("arguments")))

    def whole(self, tools: Callable[[], Collection[str]] = tuple) -> list[dict[str, Any]]:
        """Return the calls in the order in which they began. `tools` returns the names that the request knows."""
        if any(not call.size and call.name for call in self._calls[:-1]):
            self._join_names(tools())
        return [call.whole() for call in self._calls]

    def _join_names(self, tools: Collection[str]) -> None:
        """Make one call of those that are a name in pieces: no tool is called so, but one begins so."""
        joined: list[_Call] = []
        for call in self._calls:
            last = joined[-1] if joined else None
            if (
                last is not None
                and not last.size
                and last.name not in tools
                and (last.id is None or call.id is None)
                and any(tool.startswith(last.name_with(call)) for tool in tools)
            ):
                last.absorb(call)
            else:
                joined.append(call)
        self._calls = joined

    def __bool__(self) -> bool:
        return bool(self._calls)


def _with_function(piece: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a call in the form of chat completions, also one whose name and arguments stand beside its id."""
    if "function" in piece or not isinstance(piece.get("name"), str):
        return piece
    arguments = next((piece[name] for name in _ARGUMENTS if piece.get(name) is not None), None)
    beside = {name: piece[name] for name in ("index", "id") if name in piece}
    return {**beside, "type": "function", "function": {"name": piece["name"], "arguments": arguments}}


def tool_names(body: bytes) -> frozenset[str]:
    """Return the names of the tools that a request offers; none for a body that cannot be read."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return frozenset()
    places = (request, request.get("parameters")) if isinstance(request, dict) else ()
    offered = [tool for place in places if isinstance(place, dict) for tool in _listed(place.get("tools"))]
    functions = [tool.get("function", tool) for tool in offered if isinstance(tool, dict)]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return frozenset(name for name in names if isinstance(name, str) and name)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _said_once(pieces: list[str]) -> str:
    """Return the arguments that the pieces add up to, also where they are no JSON only because some said more.

    Gateways put `{}` before arguments in pieces, as Anthropic begins each call
    (https://github.com/BerriAI/litellm/issues/4537), or repeat in each piece what came before.
    """
    text = "".join(pieces)
    if len(pieces) == 1 or _is_object(text):
        return text
    filled = [piece for piece in pieces if piece.strip()]
    without = [piece for piece in filled if piece.strip() != "{}"]
    grows = all(more.startswith(before) for before, more in itertools.pairwise(filled))
    for other in ("".join(without), filled[-1] if grows else ""):
        if _is_object(other):
            return other
    return text


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def _identity(piece: Mapping[str, Any]) -> str | None:
    identity = piece.get("id")
    return identity if isinstance(identity, str) and identity else None


def json_text(value: Any) -> str:
    """Return a decoded JSON value as text."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # halves of characters
        return msgspec.json.encode(whole_value(value)).decode()
