"""Kinds: what a file is, by its first bytes, in words for an error."""

import pathlib


def beginning(path: pathlib.Path, size: int = 1024) -> bytes:
    """The first bytes of a file; none of a folder, or of what cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def kind_of(path: pathlib.Path) -> str:
    """What lies at a path: `an HDF5 file`."""
    if path.is_dir():
        return "a folder"
    first = beginning(path)
    if not first:
        return EMPTY
    for magic, kind in _KINDS.items():
        if first.startswith(magic):
            return kind
    if first[:1] == b"\x80" and first[1:2] in b"\x02\x03\x04\x05":
        return "a pickle file (which is never loaded, since it can run code)"
    return "a text file" if is_text(first) else UNKNOWN


def is_text(first: bytes) -> bool:
    """Whether a file that begins like this is text."""
    try:
        text = first.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(first) - 3:  # else a letter was cut
            return False
        text = first[: error.start].decode("utf-8")
    return bool(text) and all(letter.isprintable() or letter.isspace() for letter in text)


EMPTY = "an empty file"
UNKNOWN = "of an unknown kind"
ZIP_ARCHIVE = "a zip archive"
HDF5 = b"\x89HDF\r\n\x1a\n"
PARQUET = b"PAR1"
ZIP = b"PK"

_KINDS = {
    HDF5: "an HDF5 file",
    b"\x93NUMPY": "a single array (npy)",
    PARQUET: "a Parquet file",
    ZIP: ZIP_ARCHIVE,
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"SQLite format 3\x00": "an SQLite file",
}
