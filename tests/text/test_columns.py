"""The message for a column that does not exist."""

from batchgen.text.columns import missing_column


def test_with_a_column_that_was_probably_meant():
    message = missing_column("ids", ["id", "body"])
    assert message == 'there is no column "ids" in the input; did you mean "id"? The columns are "id", "body".'


def test_without_one_the_sentence_goes_on():
    assert missing_column("zzz", ["id"]) == 'there is no column "zzz" in the input; the columns are "id".'


def test_without_any_column():
    assert missing_column("label", []) == 'there is no column "label", as there are no columns at all.'
