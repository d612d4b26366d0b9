"""The message for a column that does not exist."""

from batchgen.text.columns import missing_column


def test_with_a_column_that_was_probably_meant():
    message = missing_column("ids", ["id", "body"])
    assert message == 'there is no column "ids" in the input; did you mean "id"? The columns are "id", "body".'


def test_without_one_the_sentence_goes_on():
    assert missing_column("zzz", ["id"]) == 'there is no column "zzz" in the input; the columns are "id".'


def test_without_any_column():
    assert missing_column("label", []) == 'there is no column "label", as there are no columns at all.'


def test_a_name_that_is_no_identifier_is_shown_as_a_template_has_it():
    """The reader cannot guess the form with brackets."""
    assert 'did you mean "first-name", in a template row["first-name"]?' in missing_column(
        "first", ["id", "first-name"]
    )
    assert 'in a template row["text "]?' in missing_column("text", ["id", "text "])


def test_names_that_look_the_same_are_told_apart():
    """A Mac writes letters and their marks apart; a message with the same name twice helps nobody."""
    message = missing_column("größe", ["gro\u0308ße"])
    assert "another form of Unicode" in message
    assert 'row["gro\\u0308\\u00dfe"]' in message
