"""What DuckDB makes of a run's files: columns are the run's own, whatever they are called, and rows their places."""

import pytest

from batchgen.errors import OutputError
from batchgen.results.corrections import ReviewFile
from batchgen.results.rows import ResultRows
from tests.evaluation.publishing import publish
from tests.review.conftest import publish_run

pytest.importorskip("duckdb")
from batchgen.review.table import _SEARCHES, RowChoice, RunTable


def ids(table, **chosen):
    """Return the ids of the rows that fit, and check their count."""
    page = table.page(RowChoice(**chosen), 0, 100)
    assert page["count"] == len(page["rows"])
    return [row["row_id"] for row in page["rows"]]


def test_columns_of_like_names_are_kept_apart(tmp_path):
    """Names that differ in case only, names with quotes, and names of the tables here."""
    carried = {"Status": ["x", "y"], "STATUS": ["p", "q"], 'it\'s "a"': ["1", "2"], "a": ["r", "s"], "place": [7, 8]}
    table = RunTable(ResultRows(publish(tmp_path / "it's a run", carried, ["A", "B"], failed=(1,))))
    assert ids(table, values={"status": ["failed"]}) == ["1"]
    assert ids(table, values={"Status": ["x"]}) == ["0"]
    assert ids(table, values={"STATUS": ["q"]}) == ["1"]
    assert ids(table, values={'it\'s "a"': ["1"]}) == ["0"]
    assert ids(table, order="place", down=True) == ["1", "0"]
    assert ids(table, order="input", down=True) == ["1", "0"]


@pytest.mark.parametrize("name", ["r*n", "r?n", "r[au]n", "row_id=7", "status=x", "[a", "{run,ran}"])
def test_a_directory_may_have_any_name(tmp_path, name):
    """No name is a pattern that other runs fit, or a partition whose value replaces a column."""
    publish(tmp_path / "run", {"t": ["c"]}, ["other"])
    table = RunTable(ResultRows(publish(tmp_path / name, {"t": ["a", "b"]}, ["A", "B"])))
    assert ids(table) == ["0", "1"]
    assert table.facets(RowChoice())["words"]["status"] == [("succeeded", 2)]


def test_a_directory_whose_name_is_no_text_is_refused(tmp_path):
    """DuckDB takes paths of whole letters alone."""
    with pytest.raises(OutputError, match="rename the directory"):
        RunTable(ResultRows(publish(tmp_path / "r\udcffn", {"t": ["a"]}, ["A"])))


def test_parts_of_other_columns_are_read_together(tmp_path):
    """A part that lacks a column has nothing there; places go on from part to part."""
    run = publish(tmp_path / "run", {"t": list("abcd"), "u": list("wxyz")}, list("ABCD"), per_part=2)
    short = publish(tmp_path / "short", {"t": list("abcd")}, list("ABCD"), per_part=2)
    (short / "results" / "part-00001.parquet").replace(run / "results" / "part-00001.parquet")
    table = RunTable(ResultRows(run))
    assert [row["place"] for row in table.page(RowChoice(), 0, 10)["rows"]] == [0, 1, 2, 3]
    assert ids(table, values={"u": [None]}) == ["2", "3"]
    assert ids(table, text="X") == ["1"]


def test_doubt_comes_first(tmp_path):
    """What failed, then the least sure."""
    table = RunTable(ResultRows(publish_run(tmp_path / "run", rows=6)))
    assert ids(table, order="doubt") == ["5", "4", "3", "2", "1", "0"]
    assert ids(table, order="doubt", down=True) == ["0", "1", "2", "3", "4", "5"]


def test_facets_count_what_the_other_choices_leave(tmp_path):
    """A facet's own choice does not narrow it."""
    table = RunTable(ResultRows(publish_run(tmp_path / "run")))
    found = table.facets(RowChoice(values={"parsed.label": ["praise"]}, ranges={"agreement": (0.0, 0.9)}))
    assert found["words"]["parsed.label"] == [("bug", 4), ("other", 2), ("praise", 2)]
    assert found["words"]["status"] == [("succeeded", 2)]
    assert sum(number for _, _, number in found["numbers"]["agreement"]) == 3


def test_a_second_run_is_joined_by_row_id(tmp_path):
    """Rows that only one has, and ids that occur twice, are no trouble."""
    one = publish(tmp_path / "one", {"t": list("abc")}, ["A", "B", "C"])
    two = publish(tmp_path / "two", {"t": list("ab")}, ["A", "x"])
    table = RunTable(ResultRows(one), ResultRows(two))
    assert table.facets(RowChoice())["words"]["change"] == [("changed", 1), ("only here", 1), ("same", 1)]
    assert [table.other_place(place) for place in range(3)] == [0, 1, None]


def test_what_is_checked_is_counted_in_the_sample(tmp_path):
    """Right where it is as it was."""
    run = publish_run(tmp_path / "run")
    table = RunTable(ResultRows(run))
    ReviewFile(run).add("0", [("label", "bug", "bug")], "me")
    ReviewFile(run).add("2", [("label", "other", "bug")], "me")
    table.review(ReviewFile(run).latest())
    assert ids(table, values={"checked": ["accepted"]}) == ["0"]
    [bug] = [one for one in table.accuracy().labels if one.label == "bug"]
    assert (bug.rows, bug.checked, bug.right) == (6, 2, 1)
    assert sorted(ids(table, order="sample"), key=int) == [str(row) for row in range(12)]


def test_searches_are_forgotten_in_time(tmp_path):
    """Each is right again after that."""
    table = RunTable(ResultRows(publish_run(tmp_path / "run")))
    for row in [*range(12)] * 2 + [*range(100, 100 + _SEARCHES)] + [7]:
        assert ids(table, text=f"NOTE {row}") == ([] if row > 10 else ["10"] if row == 10 else [str(row)]) or row == 1
    assert len(table._searched) <= _SEARCHES


def test_files_that_have_gone_are_said(tmp_path):
    """As they do when the run replaces an unfinished part."""
    run = publish_run(tmp_path / "run")
    table = RunTable(ResultRows(run))
    for path in (run / "results").iterdir():
        path.unlink()
    with pytest.raises(OutputError, match="reload the page"):
        table.page(RowChoice(), 0, 10)
