"""The rows of a run as DuckDB reads them where they stand: which fit, how many, in what order; and a second run's.

DuckDB takes names that differ in case for one, so columns are taken by their position and called `k0`, `k1`, ... here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from msgspec import Struct

from batchgen.errors import OutputError, UsageError
from batchgen.files.arrow import arrow_file
from batchgen.results.corrections import Correction
from batchgen.results.rows import ResultRows
from batchgen.review.accuracy import SampleAccuracy, sample_accuracy

MOST_VALUES = 50
"""A text field with more values than this is no facet."""
SAMPLED = 200
"""Rows drawn at random for each label."""
_BINS = 8
_SEARCHES = 20
"""Searches whose rows are remembered."""
_WORDS = ("status", "error_kind", "finish_reason", "model")
_NUMBERS = ("confidence", "agreement", "input_tokens", "output_tokens", "cost", "attempts", "latency_ms")
_SURENESS = ("confidence", "agreement")
_SNIPPET = 300


class RowChoice(Struct, frozen=True):
    """Which rows: `text` somewhere in them, `values` of facets (null among them), `ranges` of numbers; `order` is
    `input`, `doubt`, `sample` or a column, and `down` turns it round."""

    text: str = ""
    values: Mapping[str, Sequence[str | None]] = {}
    ranges: Mapping[str, tuple[float, float]] = {}
    order: str = "input"
    down: bool = False


class RunTable:
    """The committed rows of one run, beside those of `other` where that is given, joined by row_id."""

    def __init__(self, rows: ResultRows, other: ResultRows | None = None) -> None:
        settings: dict[str, Any] = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        self._database = duckdb.connect(config=settings)
        self._lock = Lock()
        self._sampled = False
        self._searched: dict[str, str] = {}
        self._numbers = count()
        self.rows = rows
        self.other = other
        self._create_view("a", rows)
        self._expressions = _expressions(rows)
        self._expressions["#place"] = "a.place"
        self._database.execute("CREATE TABLE review (row_id VARCHAR PRIMARY KEY, state VARCHAR)")
        self._expressions["checked"] = (
            f"coalesce((SELECT state FROM review WHERE review.row_id = a.{self._key('row_id')}), 'no')"
        )
        if other is not None:
            self._compare(other)
        self.label = _label_field(rows)
        self.words, self.numbers = self._facets()

    def _key(self, name: str) -> str:
        return f"k{self.rows.schema.get_field_index(name)}"

    def _create_view(self, name: str, rows: ResultRows) -> None:
        """Name the rows of a run `name`; parts of the same columns are read together."""
        groups: dict[tuple[str, ...], list[tuple[str, int]]] = {}
        start = 0
        for part in rows.runs[0].parts:
            file = pq.ParquetFile(arrow_file(part))
            groups.setdefault(tuple(file.schema_arrow.names), []).append((str(part), start))
            start += file.metadata.num_rows
        selects = []
        for names, parts in groups.items():
            paths = ", ".join(_path(path) for path, _ in parts)
            starts = ", ".join(str(first) for _, first in parts)
            aliases = ", ".join(f"c{place}" for place in range(len(names)))
            columns = ", ".join(
                f"{f'c{names.index(field.name)}' if field.name in names else 'NULL'} AS k{place}"
                for place, field in enumerate(rows.schema)
            )
            selects.append(
                f"SELECT ([{starts}]::BIGINT[])[file_index::BIGINT + 1] + place AS place, {columns} "
                f"FROM read_parquet([{paths}], file_row_number = true, "
                f"hive_partitioning = false) AS part({aliases}, place)"
            )
        self._database.execute(f"CREATE VIEW {name} AS {' UNION ALL '.join(selects)}")

    def _compare(self, other: ResultRows) -> None:
        self._create_view("b", other)
        here, there = self._expressions, _expressions(other)
        fields = [name for name in here if name.startswith("parsed.") and name in there]
        fields = [name for name in fields if name.removeprefix("parsed.") not in _SURENESS] or ["completion"]
        changed = " OR ".join(
            f"CAST({here[name]} AS VARCHAR) IS DISTINCT FROM CAST({there[name].replace('a.', 'b.')} AS VARCHAR)"
            for name in fields
        )
        id_there = f"b.k{other.schema.get_field_index('row_id')}"
        label = _label_field(self.rows)
        moves = "NULL"
        if label in here and label in there:
            then = there[label].replace("a.", "b.")
            moves = f"coalesce(CAST({here[label]} AS VARCHAR), '–') || ' → ' || coalesce(CAST({then} AS VARCHAR), '–')"
        self._database.execute(
            "CREATE TABLE compared AS SELECT a.place, any_value(b.place) AS other, any_value(CASE WHEN b.place IS NULL "
            f"THEN 'only here' WHEN {changed} THEN 'changed' ELSE 'same' END) AS change, any_value(CASE WHEN "
            f"b.place IS NOT NULL AND ({changed}) THEN {moves} END) AS moved FROM a LEFT JOIN b "
            f"ON a.{self._key('row_id')} = {id_there} GROUP BY a.place"
        )
        for name, column in (("change", "change"), ("moved", "moved")):
            self._expressions[name] = f"(SELECT {column} FROM compared WHERE compared.place = a.place)"

    def _facets(self) -> tuple[list[str], dict[str, tuple[float, float]]]:
        """Return the facets of words, and those of numbers with their smallest and largest value."""
        types = self.rows.parsed_fields
        fields = [f"parsed.{name}" for name, kind in types.items() if _is_word(kind)]
        words = [name for name in [*_WORDS, *fields] if name in self._expressions]
        numbers = [name for name in _NUMBERS if name in self._expressions]
        counts = [f"approx_count_distinct({self._expressions[name]})" for name in words]
        bounds = [f"{of}(TRY_CAST({self._expressions[name]} AS DOUBLE))" for name in numbers for of in ("min", "max")]
        found = self._one(f"SELECT {', '.join([*counts, *bounds])} FROM a")
        few = [
            name
            for name, number in zip(words, found, strict=False)
            if number <= (MOST_VALUES if self._is_few(name) else min(MOST_VALUES, self.rows.rows // 5))
            and (number or name == "status")
        ]
        ends = found[len(words) :]
        ranges = {
            name: (ends[2 * place], ends[2 * place + 1])
            for place, name in enumerate(numbers)
            if ends[2 * place] is not None and ends[2 * place] < ends[2 * place + 1]
        }
        more = ["change", "moved"] if self.other is not None else []
        return ["checked", *more, *few], ranges

    def _is_few(self, name: str) -> bool:
        """Return whether a facet has few values by its nature, and not only because there are few rows."""
        return name in _WORDS or not pt.is_string(self.rows.parsed_fields[name.removeprefix("parsed.")])

    def review(self, latest: Mapping[str, Mapping[str, Correction]]) -> None:
        """Take what people said: a row is `corrected` where one of its values is not what it was, else `accepted`."""
        states = [
            (row, "accepted" if all(one.value == one.was for one in fields.values()) else "corrected")
            for row, fields in latest.items()
        ]
        with self._lock, self._database.cursor() as cursor:
            cursor.begin()
            cursor.execute("DELETE FROM review")
            if states:
                said = pa.table({"row_id": [row for row, _ in states], "state": [state for _, state in states]})
                cursor.register("said", said)
                cursor.execute("INSERT INTO review SELECT row_id, state FROM said")
            cursor.commit()

    def values_of(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of facets of words, the most frequent first."""
        return {
            name: [
                value
                for value, _ in self._all(
                    f"SELECT CAST({self._expressions[name]} AS VARCHAR) AS value, count(*) FROM a GROUP BY 1 "
                    f"HAVING value IS NOT NULL ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES}"
                )
            ]
            for name in names
        }

    def facets(self, wanted: RowChoice) -> dict[str, Any]:
        """Return counts for each facet; its own choice does not narrow it, so that others can be added."""
        words = {}
        for name in self.words:
            where, values = self._where(wanted, leave_out=name)
            expression = f"CAST({self._expressions[name]} AS VARCHAR)"
            words[name] = self._all(
                f"SELECT {expression} AS value, count(*) FROM a {where} "
                f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES}",
                values,
            )
        numbers = {}
        for name, (low, high) in self.numbers.items():
            where, values = self._where(wanted, leave_out=name)
            width = (high - low) / _BINS
            number = f"TRY_CAST({self._expressions[name]} AS DOUBLE)"
            counts = dict(
                self._all(
                    f"SELECT least({_BINS - 1}, floor(({number} - ?) / ?))::INT, count(*) FROM a {where} GROUP BY 1",
                    [low, width, *values],
                )
            )
            numbers[name] = [
                (low + width * place, high if place == _BINS - 1 else low + width * (place + 1), counts.get(place, 0))
                for place in range(_BINS)
            ]
        return {"words": words, "numbers": numbers}

    def page(self, wanted: RowChoice, start: int, most: int) -> dict[str, Any]:
        """Return how many rows fit, and some of them: place, row_id, status, label, answer, doubt and checked."""
        where, values = self._where(wanted)
        [rows] = self._one(f"SELECT count(*) FROM a {where}", values)
        join, order = self._order(wanted)
        places = [
            place
            for (place,) in self._all(
                f"SELECT a.place FROM a {join} {where} ORDER BY {order} LIMIT ? OFFSET ?", [*values, most, start]
            )
        ]
        if wanted.order == "sample":
            [rows] = self._one(f"SELECT count(*) FROM a {join} {where}", values)
        return {"count": rows, "rows": self._summaries(places)}

    def _summaries(self, places: Sequence[int]) -> list[dict[str, Any]]:
        shown = {
            "row_id": self._expressions["row_id"],
            "status": self._expressions["status"],
            "label": f"CAST({self._expressions[self.label]} AS VARCHAR)",
            "answer": f"left(coalesce(a.{self._key('completion')}, a.{self._key('error_message')}), {_SNIPPET})",
            "sure": _sureness(self._expressions),
            "attempts": self._expressions["attempts"],
            "checked": self._expressions["checked"],
            "change": self._expressions.get("change", "NULL"),
        }
        columns = ", ".join(shown.values())
        wanted = ", ".join(map(str, places)) or "-1"
        found = {
            line[0]: dict(zip(shown, line[1:], strict=True))
            for line in self._all(f"SELECT a.place, {columns} FROM a WHERE a.place IN ({wanted})")
        }
        return [{"place": place, **found[place]} for place in places]

    def _order(self, wanted: RowChoice) -> tuple[str, str]:
        """Return the join that sorting needs, and the expressions to sort by, as SQL."""
        way = "DESC" if wanted.down else "ASC"
        if wanted.order == "sample":
            self._sample()
            return "JOIN sample ON sample.place = a.place", f"sample.turn {way}, sample.label"
        if wanted.order == "doubt":
            failed = f"CASE WHEN {self._expressions['status']} = 'failed' THEN 1.0 ELSE 0.0 END"
            repaired = f"CASE WHEN {self._expressions['attempts']} > 1 THEN 0.001 ELSE 0.0 END"
            doubt = f"greatest(1.0 - coalesce({_sureness(self._expressions)}, 1.0), {failed}) + {repaired}"
            return "", f"{doubt} {'ASC' if wanted.down else 'DESC'}, a.place"
        if wanted.order == "input":
            return "", f"a.place {way}"
        return "", f"{self._expression(wanted.order)} {way} NULLS LAST, a.place"

    def _expression(self, name: str) -> str:
        if name not in self._expressions:
            raise UsageError(f"There is no column {name!r}.")
        return self._expressions[name]

    def _where(self, wanted: RowChoice, leave_out: str | None = None) -> tuple[str, list[Any]]:
        conditions: list[str] = []
        values: list[Any] = []
        for name, chosen in wanted.values.items():
            if name == leave_out or not chosen:
                continue
            text = f"CAST({self._expression(name)} AS VARCHAR)"
            words = [value for value in chosen if value is not None]
            either = [f"{text} IN ({', '.join('?' * len(words))})"] if words else []
            either += [f"{text} IS NULL"] if None in chosen else []
            conditions.append(f"({' OR '.join(either)})")
            values += words
        for name, (low, high) in wanted.ranges.items():
            if name != leave_out:
                conditions.append(f"TRY_CAST({self._expression(name)} AS DOUBLE) BETWEEN ? AND ?")
                values += [low, high]
        if wanted.text:
            conditions.append(f"a.place IN (SELECT place FROM {self._containing(wanted.text.lower())})")
        return f"WHERE {' AND '.join(conditions)}" if conditions else "", values

    def _containing(self, text: str) -> str:
        """Return the table of the rows that contain a text: all texts are read once for it, not for each facet."""
        with self._lock:
            if text not in self._searched:
                name = f"search{next(self._numbers)}"
                places = [place for place, field in enumerate(self.rows.schema) if _is_searched(field)]
                fits = " OR ".join(f"contains(lower(CAST(a.k{place} AS VARCHAR)), $text)" for place in places)
                with self._database.cursor() as cursor:
                    cursor.execute(f"CREATE TABLE {name} AS SELECT place FROM a WHERE {fits}", {"text": text})
                self._searched[text] = name
                if len(self._searched) > _SEARCHES:
                    old = next(iter(self._searched))
                    self._database.cursor().execute(f"DROP TABLE {self._searched.pop(old)}")
            return self._searched[text]

    def _sample(self) -> None:
        """Draw rows for each label, the same ones whenever the same rows are there."""
        with self._lock:
            if not self._sampled:
                label = f"CAST({self._expressions[self.label]} AS VARCHAR)"
                self._database.cursor().execute(
                    f"CREATE OR REPLACE TABLE sample AS SELECT place, {self._key('row_id')} AS row_id, "
                    f"{label} AS label, row_number() OVER (PARTITION BY {label} "
                    f"ORDER BY md5({self._key('row_id')} || ' drawn')) AS turn, count(*) OVER (PARTITION BY {label}) "
                    f"AS size FROM a QUALIFY turn <= {SAMPLED}"
                )
                self._sampled = True

    def accuracy(self) -> SampleAccuracy:
        """Return what the checked rows of the sample say."""
        self._sample()
        counts = self._all(
            "SELECT label, any_value(size), count(state), count(*) FILTER (state = 'accepted') "
            "FROM sample LEFT JOIN review USING (row_id) GROUP BY label ORDER BY 2 DESC, 1"
        )
        return sample_accuracy(counts)

    def other_place(self, place: int) -> int | None:
        """Return where the row stands in the other run."""
        found = self._all("SELECT other FROM compared WHERE place = ?", [place]) if self.other is not None else []
        return found[0][0] if found else None

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._database.cursor() as cursor:
            try:
                found: list[Any] = cursor.execute(query, [*values]).fetchall()
            except duckdb.Error as error:  # for example a part that the run has replaced by a larger one
                raise OutputError(f"The rows cannot be read; reload the page. ({error})") from error
            return found

    def _one(self, query: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        found: Sequence[Any] = self._all(query, values)[0]
        return found


def _expressions(rows: ResultRows) -> dict[str, str]:
    """Return name → expression of what can be filtered and sorted by; names of `parsed` may stand without it."""
    names = rows.schema.names
    found = {name: f"a.k{place}" for place, name in enumerate(names)}
    if "parsed" in names:
        for name in rows.parsed_fields:
            found[f"parsed.{name}"] = f"struct_extract(a.k{names.index('parsed')}, {_text(name)})"
            if name in _SURENESS:
                found[name] = found[f"parsed.{name}"]
    return found


def _label_field(rows: ResultRows) -> str:
    """Return the field that samples are drawn by: the label, the first of few words, else the status."""
    fields = rows.parsed_fields
    if "label" in fields:
        return "parsed.label"
    return next((f"parsed.{name}" for name, kind in fields.items() if pt.is_dictionary(kind)), "status")


def _sureness(expressions: Mapping[str, str]) -> str:
    known = [f"TRY_CAST({expressions[name]} AS DOUBLE)" for name in _SURENESS if name in expressions]
    return f"least({', '.join(known)})" if known else "CAST(NULL AS DOUBLE)"


def _is_word(kind: pa.DataType) -> bool:
    return bool(pt.is_dictionary(kind) or pt.is_string(kind) or pt.is_boolean(kind))


def _is_searched(field: pa.Field) -> bool:
    texts = pt.is_string(field.type) or pt.is_large_string(field.type) or pt.is_nested(field.type)
    return texts and field.name not in ("request_id", "request_key")


def _path(path: str) -> str:
    """Return a path as DuckDB takes it for that one file: it reads a list of paths as patterns."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise OutputError(
            f"{path}: the page opens only paths of whole letters (UTF-8); rename the directory."
        ) from None
    return _text(re.sub(r"[*?\[]", r"[\g<0>]", path))


def _text(value: str | Path) -> str:
    return "'" + str(value).replace("'", "''") + "'"
