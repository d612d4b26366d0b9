"""What to do with a file of a format that is not read, by its extension."""

from __future__ import annotations

_MAIL = "mail: make a table of it with `batchgen mail`"
_REMEDIES = {
    "a workbook: save the sheet as .xlsx or as CSV (UTF-8)": ".ods .fods .ots .sxc .xls .xlsb .xlt .numbers .gnumeric",
    "a page of HTML or XML: open it as a table in Excel or LibreOffice and save it as .xlsx": ".html .htm .mht .xml",
    "a pointer to an online document: download the sheet as .xlsx or CSV": ".gsheet .url .webloc",
    "an archive: unpack it first": ".zip .tar .tgz .7z .rar .xz .lz4 .br",
    "a database: export the table as CSV or Parquet": ".db .sqlite .sqlite3 .duckdb .mdb .accdb .dbf .sql",
    "a table of a statistics program: write it as Parquet or CSV (pandas and R read it)": (
        ".sav .por .dta .sas7bdat .xpt .rds .rdata .rda .mat"
    ),
    "a table of another program: write it as Parquet": ".feather .arrow .ipc .avro .orc .pkl .pickle .h5 .hdf5 .npy",
    _MAIL: ".eml .emlx .mbox .mbx .msg .pst .ost",
    "a document: write a table with a row for each one, or name documents in a column for `attach.column`": (
        ".pdf .doc .docx .odt .rtf .ppt .pptx .md .png .jpg .jpeg"
    ),
    "no table: write one JSON object per line": ".yaml .yml .geojson .ipynb .js .toml",
}
_BY_EXTENSION = {extension: what for what, extensions in _REMEDIES.items() for extension in extensions.split()}


def remedy(extension: str) -> str | None:
    """Return what a file with this extension is and what to do with it; None if it is not known."""
    return _BY_EXTENSION.get(extension.lower())


def is_mail(extension: str) -> bool:
    """Whether a file with this extension is a mail, or holds mails."""
    return remedy(extension) == _MAIL
