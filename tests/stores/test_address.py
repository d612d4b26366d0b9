"""Addresses: told from paths, taken apart, and a mistyped one is met with what was meant."""

import pytest

from batchgen.errors import InputError, OutputError
from batchgen.stores.address import is_address, parse_address, shown


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://mails/2026/", "mails", "2026"),
        ("gs://mails/a b.csv", "mails", "a b.csv"),
        ("az://container/x/y.parquet", "container", "x/y.parquet"),
        ("S3://mails/x", "mails", "x"),
    ],
)
def test_an_address_names_a_bucket_and_what_is_in_it(text, bucket, key):
    """The part before the first slash."""
    assert (lambda found: (found.bucket, found.key))(parse_address(text, InputError)) == (bucket, key)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("s4://rows/x.csv", "s3://rows/x.csv"),
        ("s3a://rows/x.csv", "s3://rows/x.csv"),
        ("gcs://rows/x.csv", "gs://rows/x.csv"),
        ("abfss://rows/x.csv", "az://rows/x.csv"),
        ("htps://host/x.csv", "https://host/x.csv"),
        ("s3:/rows/x.csv", "s3://rows/x.csv"),
    ],
)
def test_a_mistyped_scheme_is_met_with_the_one_that_was_meant(text, meant):
    """Also the names that other tools have for it."""
    with pytest.raises(InputError, match=f"Did you mean {meant}"):
        parse_address(text, InputError)


@pytest.mark.parametrize("text", ["s3://", "s3:///x.csv", "file:///tmp/x.csv"])
def test_what_names_no_bucket_is_refused(text):
    """With how it is written."""
    with pytest.raises(InputError, match="://"):
        parse_address(text, InputError)


@pytest.mark.parametrize("text", ["https://host/x", "http://host/x", "s3://bucket", "s3://bucket/"])
def test_results_go_into_a_folder_of_a_bucket(text):
    """A web address takes none, and a whole bucket is not taken for them."""
    with pytest.raises(OutputError):
        parse_address(text, OutputError, writing=True)


@pytest.mark.parametrize("text", ["rows.csv", "/tmp/s3/x.csv", "a:b", "C:/rows.csv", "*.csv", "-", ""])
def test_a_path_is_no_address(text):
    """Colons and slashes alone make none."""
    assert not is_address(text)


def test_a_signature_is_never_shown():
    """What stands in the query of a signed address, and a password before the host, are secrets."""
    signed = "https://user:pass@host/rows.csv?X-Amz-Signature=abc#f"
    assert shown(signed) == parse_address(signed, InputError).text == "https://host/rows.csv"
    assert shown("rows.csv?x") == "rows.csv?x"


@pytest.mark.parametrize("name", ["a b+c%20#x.parquet", "?.csv", "what?.csv", "ü/#1"])
def test_names_in_stores_are_shown_whole(name):
    """Only a web address has a query and a fragment."""
    assert shown(f"s3://rows/{name}") == f"s3://rows/{name}"
    assert parse_address(f"s3://rows/{name}", InputError).text == f"s3://rows/{name}"


@pytest.mark.parametrize("text", ["s3://AKIA123:hush/hush@rows/x.csv", "az://rows/x.csv?sv=2025-01-01&sig=hush"])
def test_what_gives_access_is_refused_in_an_address_and_not_shown(text):
    """It would be stored with the run."""
    with pytest.raises(InputError, match="no place in an address") as refused:
        parse_address(text, InputError)
    assert "hush" not in str(refused.value)
    assert "hush" not in shown(text)


def test_the_address_of_other_tools_for_azure_is_put_right():
    """The account is no part of ours."""
    with pytest.raises(InputError, match=r"Did you mean az://rows/a/x.csv\?"):
        parse_address("abfss://rows@account.dfs.core.windows.net/a/x.csv", InputError)


def test_a_port_is_no_password():
    """Whatever signs the path has."""
    assert shown("https://me:hush@host:8080/rows@v1/x.csv?sig=hush#a") == "https://host:8080/rows@v1/x.csv"


@pytest.mark.parametrize("key", ["a//b", "/a", "../a", "a/./b", "a/..", "tab\tx", "a\nb", "bell\a"])
def test_what_the_libraries_cannot_reach_is_refused(key):
    """In a sentence, for input and output alike, and before anything is asked of the store."""
    for error, writing in ((InputError, False), (OutputError, True)):
        with pytest.raises(error, match="needs a name"):
            parse_address(f"s3://mails/{key}", error, writing=writing)
    assert parse_address("s3://mails/.hidden/..x/a b", InputError).key == ".hidden/..x/a b"
