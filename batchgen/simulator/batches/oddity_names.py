"""What batch APIs do beside the page of their documentation, by name, and how it is switched on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CALLS = {
    "upload_broken": "the connection is cut at 80 % of an upload; nothing is stored",
    "upload_lost": "the file is stored, the connection is cut instead of the reply",
    "upload_429": "an upload is refused with 429",
    "upload_500": "an upload fails with 500; nothing is stored",
    "create_429": "creating a batch is refused with 429",
    "create_500": "creating a batch fails with 500; nothing is created",
    "create_404": "creating a batch does not find the file that was uploaded for it",
    "create_refused": "the model is refused when a batch is created; its file stays",
    "create_lost": "the batch is created, the connection is cut instead of the reply",
    "create_500_made": "the batch is created, the reply is 500",
    "create_cut": "the batch is created, the connection is closed in the middle of the reply",
    "create_hang": "the batch is created, no reply comes for hang_s seconds",
    "retrieve_500": "a look at a batch fails with 500",
    "retrieve_html": "a look at a batch gets a proxy's HTML page with 502",
    "retrieve_error": 'a look at a batch gets 200 with {"error": ...}',
    "retrieve_cut": "the connection is closed in the middle of the reply to a look at a batch",
    "retrieve_stale": "a look at a batch that has ended shows it as it was while it ran",
    "retrieve_404": "a look at a batch gets 404, once in a while",
    "list_500": "a list fails with 500",
    "list_value": 'a list is {"value": [...]} without its other fields',
    "list_oldest_first": "a list begins with the oldest, three at a time",
    "list_repeats": "a list begins again from the front for ever, three at a time",
    "cancel_500": "cancelling fails with 500 and does nothing",
    "cancel_409": "cancelling is refused, as the batch is still being validated",
    "cancel_lost": "a batch is cancelled, the connection is cut instead of the reply",
    "delete_500": "deleting fails with 500 and does nothing",
    "delete_lost": "a file is deleted, the connection is cut instead of the reply",
    "download_cut": "the connection is reset in the middle of a download",
    "download_short": "the connection is closed in the middle of a download",
    "download_chunked_short": "a download without a length ends in order, but too soon",
    "download_gzip": "a download is compressed although nobody asked for it",
    "download_redirect": "a download is sent on to the same address with a query",
    "range_ignored": "the rest of a file is asked for, and the whole comes",
    "download_500": "a download fails with 500",
    "download_204": "a download gets 204 and no content",
    "download_404": "a download gets 404, once in a while",
}
"""Drawn for each call."""

FILES = {
    "file_slow": "an uploaded file stays `uploaded` for ten virtual minutes before it is `processed`",
    "file_error": "an uploaded file ends as `error` and can never be used",
    "file_lag": "a file is in no list for five virtual minutes",
}
"""Drawn for each uploaded file."""

BATCHES = {
    "long_validating": "validating takes six virtual hours",
    "long_finalizing": "finalizing takes six virtual hours",
    "stuck": "nothing runs, until the window ends or the batch is cancelled",
    "slow": "running takes ten times as long",
    "half_expired": "half of the rows are finished when the window ends",
    "half_cancelled": "the vendor cancels the batch when half of the rows are finished",
    "cancel_slow": "cancelling takes six virtual hours",
    "cancel_ignored": "a batch that is cancelled is completed all the same",
    "rest_left_out": "rows that an expired or cancelled batch did not finish are in no file",
    "only_errors": "every row fails, so that there is an error file only",
    "failed_tokens": "refused as a whole: too many tokens are waiting (token_limit_exceeded), whatever the limit",
    "failed_model": "refused as a whole: the model is unknown",
    "failed_billing": "refused as a whole: the account has no balance",
    "failed_bare": "refused as a whole, without a reason",
    "failed_lines": "refused as a whole: every third line is named as one that cannot be asked",
    "failed_with_rows": "failed at the end, although its rows are finished, billed and in its files",
    "ended_empty": "completed without rows or files; the reason stands in a field of its own",
    "credit_low": "every row fails as the balance is too low",
    "counts_zero": "the counts stay zero",
    "counts_null": "the counts are null",
    "counts_absent": "there are no counts",
    "error_id_empty": 'error_file_id is "" where there is no error file',
    "error_file_empty": "an error file without a byte",
    "output_id_late": "completed for ten virtual minutes before the ids of its files are told",
    "output_id_early": "the ids of its files are told while it runs, before they can be downloaded",
    "unknown_word": "the status while it runs is a word that nobody knows",
    "status_case": "the status is capitalised",
    "times_iso": "times are ISO strings",
    "times_ms": "times are milliseconds",
    "clock_ahead": "its times are those of a clock that is two hours ahead",
    "clock_behind": "its times are those of a clock that is two hours behind",
    "times_placeholder": "a time that has not come is 946656000000",
    "expires_null": "expires_at is null",
    "metadata_null": "the metadata is not kept",
    "list_lag": "the batch is in no list for five virtual minutes",
    "gone": "an ended batch and its files are gone a virtual day later",
    "shuffled": "the results are in another order than the requests",
    "bom": "the results begin with a byte order mark",
    "crlf": "the lines of the results end with CR LF",
    "blank_lines": "there are blank lines between the results",
    "no_final_newline": "the last line of the results has no newline",
    "one_array": "the results are an array within another one in place of lines, so that nobody can read them",
    "one_file": "failed rows are in the output file with the others",
    "row_404": "one row of the batch gets 404 although its model exists",
}
"""Drawn for each batch."""

ROWS = {
    "row_429": "a row fails with 429",
    "row_500": "a row fails with 500",
    "row_error_bare": "a row fails with an error that has no code and no response",
    "row_error_text": "a row fails with an error that is a text",
    "row_missing": "a row is in no file (not billed)",
    "row_twice": "a row is in the results twice",
    "row_failed_first": "before the answer of a row stands a line that it has failed",
    "row_foreign": "beside a row stands one with an id that nobody sent",
    "row_no_id": "beside a row stands one without an id",
    "row_broken": "the line of a row is cut (billed, but lost)",
    "row_starved": "thinking uses up max_tokens: no text, finish_reason length (billed)",
    "body_string": "the body of a row is a JSON string",
    "no_role": "the message of a row has no role",
    "error_code_name": "an error has error_code and error_message in place of code and message",
    "line_separators": "U+2028, U+2029 and U+0085 stand unescaped in a string of the line",
}
"""Drawn for each row."""

ODDITIES: Mapping[str, str] = CALLS | FILES | BATCHES | ROWS


def parse(entries: Sequence[str]) -> tuple[dict[str, float], dict[str, int]]:
    """Return the shares and the numbers of oddities, by name. Raises ValueError for what is neither."""
    shares: dict[str, float] = {}
    counts: dict[str, int] = {}
    for entry in entries:
        name, equals, often = entry.partition("=")
        if name not in ODDITIES:
            raise ValueError(f"There is no oddity {name!r}; there are {', '.join(sorted(ODDITIES))}.")
        try:
            if often.endswith("x"):
                counts[name] = int(often[:-1])
            else:
                shares[name] = float(often) if equals else 1.0
                if not 0 <= shares[name] <= 1:
                    raise ValueError
        except ValueError:
            raise ValueError(f"{entry}: write NAME, NAME=SHARE (0 to 1) or NAME=Nx (the first N times).") from None
    return shares, counts
