"""Stores are opened by address; what is not used costs nothing, and what is missing is named."""

import subprocess
import sys

import pytest

from batchgen.errors import InputError, UsageError
from batchgen.stores import opening
from batchgen.stores.address import parse_address


@pytest.mark.parametrize("address", ["s3://rows/x.csv", "gs://rows/x.csv", "az://rows/x.csv"])
def test_a_missing_library_names_its_extra(monkeypatch, address):
    """Instead of a traceback."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"\(extra (s3|gcs|azure)\): .*install 'obstore"):
        opening.open_store(parse_address(address, InputError))


def test_what_is_not_used_is_not_imported():
    """A run of a local file knows nothing of the libraries of stores."""
    code = (
        "import sys; from batchgen.source import Source; import batchgen.api; "
        "assert not {'obstore', 'boto3', 'botocore', 'huggingface_hub', 'alibabacloud_oss_v2'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_credentials_that_are_nowhere_are_asked_for(monkeypatch, tmp_path):
    """At once, and not after minutes of looking for a machine's role."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    opening._opened.cache_clear()
    from batchgen.source import Source

    with pytest.raises(InputError, match="No AWS credentials are found"):
        Source.open("s3://rows/x.csv")


def test_a_profile_in_the_files_of_the_aws_tools_is_used(s3, monkeypatch, tmp_path):
    """With its region, where the environment names no key."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text("[profile work]\nregion = eu-west-1\n")
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    opening._opened.cache_clear()
    s3.put("rows", "x.csv", b"text\nhello\n")
    from batchgen.source import Source

    assert Source.open("s3://rows/x.csv").columns == ["text"]
