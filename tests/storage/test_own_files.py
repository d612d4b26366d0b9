"""What shows that a directory holds a run, and what is said where it does not."""

from __future__ import annotations

from batchgen.storage.own_files import is_no_run


def test_a_directory_that_is_none_of_a_run_leads_to_the_one_that_is(tmp_path):
    """People name the folder of the job, the folder above the output, or mistype it."""
    output = tmp_path / "trial" / "out"
    output.mkdir(parents=True)
    (output / "run.json").write_text("{}")
    assert is_no_run(output) is None
    for named in (tmp_path / "trial", tmp_path):
        assert is_no_run(named) == (
            f"{named} is not an output directory of batchgen: it has no run.json. Did you mean {output}?"
        )
    mistyped = str(is_no_run(tmp_path / "trail" / "out"))
    assert "trail/out is not an output directory" in mistyped
    assert mistyped.endswith(f"it does not exist. Did you mean {output}?")
    (tmp_path / "other").mkdir()
    assert "Did you mean" not in str(is_no_run(tmp_path / "other"))


def test_what_is_there_is_not_said_to_be_missing(tmp_path):
    """A file and a link without its target are called what they are, and are not their own suggestions."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("x")
    link.symlink_to("nowhere")
    assert is_no_run(file) == f"{file} is not an output directory of batchgen: it is a file."
    assert is_no_run(link) == f"{link} is not an output directory of batchgen: it is a link to nowhere, which is gone."
