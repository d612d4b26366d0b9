"""Which files an input path means, and what format and encoding they have."""

from __future__ import annotations

import codecs
import glob
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec import structs

from batchgen.errors import InputError
from batchgen.files.nearest_path import did_you_mean
from batchgen.source.file import FILLING, File, Format, Reading, open_bytes
from batchgen.source.other_formats import remedy

_HEAD_BYTES = 4096

_EXTENSIONS = {
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".jsonlines": Format.JSONL,
    ".jl": Format.JSONL,
    ".json": Format.JSONL,
    ".xlsx": Format.XLSX,
    ".xlsm": Format.XLSX,
}
_BINARY = (".parquet", ".pq", ".xlsx", ".xlsm")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_KNOWN = (
    "known are .parquet, .csv, .tsv, .txt, .jsonl, .ndjson, .json, .xlsx and .xlsm, the text formats also with .gz, "
    ".bz2 or .zst; a delimited file of another name needs input.delimiter"
)


def find_files(path: str, reading: Reading = Reading()) -> tuple[File, ...]:  # noqa: B008 (frozen)
    """Return the files that `path` (a file, a directory or a glob) means, in natural order, all of one format.

    In a directory, names that begin with a dot or an underscore are left out, and so is `.json`, but for `part-*.json`
    alone. Of several text files, those of 0 bytes are parts that had no rows. A file that is reached in several ways,
    by symbolic links, is read once. Raises `InputError` when nothing fits,
    formats are mixed or a file cannot be looked at.
    """
    try:
        if os.path.isdir(path):
            paths, root = _directory(Path(path)), Path(path)
        elif glob.has_magic(path) and not os.path.lexists(path):
            paths, root = _glob(path)
        elif not path:
            raise InputError("input.path is empty: name a file, a directory or a glob.")
        else:
            os.stat(path)  # before its name is judged
            paths, root = [Path(path)], Path(path).parent
        paths.sort(key=lambda found: natural_key(str(found)))
        paths = _each_once(paths)
        if len(paths) > 1:
            paths = [found for found in paths if found.stat().st_size or found.suffix in _BINARY] or paths
        files = tuple(_file(found, root, reading) for found in paths)
    except FileNotFoundError as error:
        missing = error.filename or path
        if os.path.islink(missing):
            target = os.readlink(missing)
            raise InputError(f"The input {missing} is a symbolic link to {target}, which does not exist.") from error
        raise InputError(f"The input {missing} does not exist.{did_you_mean(missing)}") from error
    except PermissionError as error:
        raise InputError(
            f"The input {error.filename or path} may not be read by this user: check its permissions."
        ) from error
    except OSError as error:
        raise InputError(f"The input {path} cannot be read: {error.strerror}.") from error
    check_together(path, files)
    return files


def check_together(path: str, files: Sequence[File]) -> None:
    """Raise `InputError` for files of several formats, and for keys that say nothing about their format."""
    for file in files:
        if file.format is not files[0].format:
            raise InputError(
                f"{path} mixes {files[0].format} ({files[0].name}) and {file.format} ({file.name}): "
                "name the files of one format with a glob."
            )
    _check_reading(files[0])


def _check_reading(file: File) -> None:
    """Raise for a key of delimited files that says nothing about the format."""
    if file.format in (Format.CSV, Format.TSV):
        return
    given = {key: getattr(file.reading, key) for key in ("delimiter", "quotes", "encoding")}
    if file.format is Format.JSONL:
        del given["encoding"]  # it is text too
    for key, value in given.items():
        if value is not None:
            raise InputError(
                f"input.{key} is for delimited text, and {file.path} is read as {file.format}: leave input.{key} out."
            )


def _glob(path: str) -> tuple[list[Path], Path]:
    """Return the files that a glob means, and the folder from which on it is one.

    A folder whose name has brackets itself is taken as it is called. Where only folders match, as Spark writes a table,
    the files in them are meant.
    """
    literal, *parts = re.split(r"(?<=/)", path)
    root = pattern = ""
    for part in (literal, *parts):
        if pattern == glob.escape(root) and (not glob.has_magic(part) or os.path.lexists(root + part)):
            root += part
            pattern = glob.escape(root)
        else:
            pattern += part
    found = [Path(match) for match in glob.glob(pattern, recursive=True)]
    files = [match for match in found if match.is_file()]
    if not files:
        files = [file for match in found if match.is_dir() for file in _directory(match)]
    if not files:
        raise InputError(f"No file matches the glob {path}.")
    return files, Path(root)


def _each_once(paths: list[Path]) -> list[Path]:
    """Leave out what is the same file as another one, under the longer name."""
    if len(paths) < 2:
        return paths
    shortest: dict[str, Path] = {}
    for path in sorted(paths, key=lambda found: (len(found.parts), found.is_symlink())):
        shortest.setdefault(os.path.realpath(path), path)
    kept = set(shortest.values())
    return [path for path in paths if path in kept]


def natural_key(text: str) -> list[tuple[bool, int, str]]:
    """Return a sort key under which part-9 comes before part-10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"([0-9]+)", text)]


def _directory(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root, onerror=_raise):
        _check_no_versions(folders, folder)
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        found += [Path(folder, name) for name in names]
    return [root / name for name in data_files([str(path.relative_to(root)) for path in found], str(root))]


def data_files(names: Sequence[str], root: str) -> list[str]:
    """Return the names of input files among those in a directory. Raises `InputError` for none."""
    _check_no_versions({part for name in names for part in name.split("/")[:-1]}, root)
    found = [
        name
        for name in names
        if not any(part.startswith((".", "_", "~$")) for part in name.split("/")) and _format(name) is not None
    ]
    # A .json file is nearly always metadata, but Spark writes a table as nothing but such parts.
    data = [name for name in found if not name.lower().endswith(".json")] or [
        name for name in found if os.path.basename(name).startswith("part-")
    ]
    if not data and found:
        raise InputError(
            f"The directory {root} holds no input file but .json ones, which are left out there, as they mostly "
            f"describe other files: name those that are meant with a glob, such as {root}/*.json."
        )
    if not data:
        raise InputError(f"The directory {root} holds no input file; {_KNOWN}.")
    return data


def _check_no_versions(folders: Collection[str], root: str) -> None:
    """Raise for a table whose folder also holds rows of earlier versions, which would be asked and paid for again."""
    for log, kind in (("_delta_log", "Delta Lake"), (".hoodie", "Hudi")):
        if log in folders:
            raise InputError(
                f"{root} is a {kind} table, whose folder may also hold files of earlier versions: write its current "
                "rows to Parquet, or name the files that are meant with a glob."
            )


def _raise(error: OSError) -> None:
    raise error


def _format(name: str) -> tuple[Format, str | None] | None:
    stem, extension = os.path.splitext(name.lower())
    compression = _COMPRESSIONS.get(extension)
    if compression is not None:
        extension = os.path.splitext(stem)[1]
    found = _EXTENSIONS.get(extension)
    if found is None or (found in (Format.PARQUET, Format.XLSX) and compression is not None):
        return None
    return found, compression


def is_table_name(path: str) -> bool:
    """Whether a file's name is that of a table which can be read."""
    return _format(os.path.basename(path)) is not None


def format_of(path: str, reading: Reading) -> tuple[Format, str | None]:
    """Return format and compression of a file by its name. Raises `InputError`."""
    found = _format(os.path.basename(path))
    extension = os.path.splitext(path)[1]
    if found is None and (reading.delimiter or extension.lower() == ".txt"):
        found = Format.CSV, None
    if found is None and (known := remedy(extension)) is not None:
        raise InputError(f"{path} is not read, as its extension {extension} is that of {known}.")
    if found is None:
        raise InputError(f'The format of {path} is not known by its extension "{extension}"; {_KNOWN}.')
    return found


def _file(path: Path, root: Path, reading: Reading) -> File:
    found = format_of(str(path), reading)
    facts = path.stat()
    name = str(path.relative_to(root))
    file = File(str(path), name, *found, facts.st_size, facts.st_mtime_ns, None, reading)
    if not path.is_file():
        raise InputError(
            f"{path} is not a regular file: it is read more than once, so a pipe or a device cannot serve."
        )
    return checked(file)


def checked(file: File) -> File:
    """Return a file with its encoding, found in its first bytes. Raises `InputError` if these contradict its name."""
    if file.size == 0:
        raise InputError(f"{file.path} is empty (0 bytes).")
    if file.format is Format.PARQUET and file.remote is None:
        _check_parquet(file)
    if file.format in (Format.PARQUET, Format.XLSX):
        return file
    return structs.replace(file, encoding=_encoding(file, _checked_head(file)))


def _check_parquet(file: File) -> None:
    with open(file.path, "rb") as stream:
        beginning = stream.read(len(_LFS))
    head = beginning[:4]
    _check_content(file, beginning)
    if head not in (b"PAR1", b"PARE"):
        raise InputError(f"{file.path} is not a Parquet file: it begins with {head!r}, not with PAR1.")


def _check_content(file: File, head: bytes) -> None:
    """Raise for a file that only stands for its content, which has not been fetched."""
    if head.startswith(_LFS):
        raise InputError(f"{file.path} is a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`.")


def _checked_head(file: File) -> bytes:
    """Return a text file's first bytes; refuse what contradicts its extension, saying what it is instead."""
    with open_bytes(file) as stream:
        head = stream.read(_HEAD_BYTES)
    if not head:
        raise InputError(f"{file.path} is empty (0 bytes after unpacking).")
    _check_content(file, head)
    for magic, what in _MAGIC.items():
        if head.startswith(magic) and not (magic.isalnum() and _CONTROL.search(head.rstrip(FILLING)) is None):
            raise InputError(f"{file.path} is named {file.format} but {what}.")
    if file.format in (Format.CSV, Format.TSV) and file.reading.delimiter is None:
        for begin, what in _NO_TABLES.items():
            if begin.match(head):
                raise InputError(f"{file.path} is named {file.format} but {what}.")
    return head


_LFS = b"version https://git-lfs"
_MAGIC = {
    b"PAR1": "holds Parquet: rename it to .parquet",
    b"\x1f\x8b": "is packed with gzip: add .gz to its name",
    b"\x28\xb5\x2f\xfd": "is packed with Zstandard: add .zst to its name",
    b"BZh": "is packed with bzip2: add .bz2 to its name",
    b"\xfd7zXZ": "is packed with xz: unpack it first",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "is a workbook of an older Excel (.xls): save the sheet as CSV (UTF-8)",
    b"Obj\x01": "holds Avro: write it as Parquet",
    b"ORC": "holds ORC: write it as Parquet",
    b"ARROW1\0\0": "holds an Arrow or Feather table: write it as Parquet",
    b"SQLite format 3\0": "is an SQLite database: export the table as CSV",
    b"%PDF-": "is a PDF",
    b"PK\x03\x04": "is a zip archive or an Excel workbook: unpack it, or save the sheet as CSV (UTF-8)",
}
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")
"""What binary files have in their first bytes. Without it, a mark of letters alone is the name of a column: `ORCID`."""

_NO_TABLES = {
    re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{\s*"(?:[^"\\]|\\.)*"\s*:'): "holds JSON: rename it to .jsonl",
    re.compile(
        rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body|table|\?xml)[\s>]", re.IGNORECASE
    ): "is a page of HTML or XML",
}
_ISO_2022 = re.compile(rb"\x1b\$(?:[@AB]|\([A-DGHI]|\)[ACG])")
"""What calls another set of characters in, in files whose bytes are all ASCII and would be read as such."""

_MARKS = {
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}


def _encoding(file: File, head: bytes) -> str | None:
    """Return the encoding of a text file from the job, its byte order mark or the zeros of its first line."""
    named = file.reading.encoding
    if named is not None:
        try:
            found = codecs.lookup(named).name
        except LookupError:
            raise InputError(f"input.encoding: {named!r} is no encoding that is known here.") from None
        if found in ("utf-16", "utf-32"):
            return next((mark for start, mark in _MARKS.items() if head.startswith(start)), f"{found}-le")
        return None if found in ("utf-8", "ascii", "utf-8-sig") else found
    for start, mark in _MARKS.items():
        if head.startswith(start):
            return mark
    line = head.split(b"\n", 1)[0]
    if _ISO_2022.search(head):
        raise InputError(
            f"{file.path} has the escape sequences of an older East Asian encoding: say it under [input], for example "
            'encoding = "iso2022_jp".'
        )
    if b"\0" not in line:
        return None
    for encoding, zeros, letters in (("utf-16-le", line[1::2], line[::2]), ("utf-16-be", line[::2], line[1::2])):
        if 2 * zeros.count(0) > len(zeros) and 0 not in letters[:-1]:
            return encoding
    raise InputError(
        f"{file.path} has NUL bytes in its first line: it is no text, or in an encoding that has to be said "
        "under [input], as encoding."
    )
