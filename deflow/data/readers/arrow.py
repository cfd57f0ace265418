"""Arrow: the columns of a table as NumPy's arrays, or one sentence with the column and the row that cannot be one."""

import math
import pathlib
import reprlib
from typing import Any

import numpy as np

from ...errors import DatasetFileError
from ..kinds import PARQUET, beginning, kind_of
from .reading import package

NEEDS = "Reading tables"
"""What needs pyarrow."""

SINGLE_PRECISION = ("float32", "float16", "int16", "uint16", "int8", "uint8", "bool")
"""Types whose numbers float32 represents exactly."""


def numbers(path: pathlib.Path, name: str, column: Any, each: int = 1) -> np.ndarray:
    """Finite float32 or float64 of shape (N,), or (N, ...) where every cell is a list of numbers of one length.

    Integers and booleans become floats, too: a byte of a table is a number, and no pixel. A row of the table is `each`
    entries of the column.

    Raises:
        DatasetFileError: For anything else.
    """
    pa, array = package("pyarrow", what=NEEDS), _whole(path, name, column, each)
    kinds = pa.types
    if kinds.is_list(array.type) or kinds.is_large_list(array.type) or kinds.is_fixed_size_list(array.type):
        lengths = package("pyarrow.compute", what=NEEDS).list_value_length(array).to_numpy(zero_copy_only=False)
        size = int(lengths[0]) if len(lengths) else 0
        if (other := lengths != size).any():
            row = int(np.argmax(other))
            raise DatasetFileError(
                f"{path} has lists of different lengths in the column {name!r} ({size} in row 0, {lengths[row]} in row "
                f"{row // each}): every row needs as many numbers."
            )
        if not size:
            raise DatasetFileError(f"{path} has empty lists in the column {name!r}: leave it out.")
        inner = numbers(path, name, array.flatten(), each * size)
        return inner.reshape(len(array), size, *inner.shape[1:])
    if kinds.is_large_string(array.type):
        raise _no_number(path, name, array, each)
    if kinds.is_decimal(array.type):
        array = array.cast(pa.float64())
    elif not (kinds.is_integer(array.type) or kinds.is_floating(array.type) or kinds.is_boolean(array.type)):
        raise DatasetFileError(
            f"{path} has the type {array.type} in the column {name!r}: save it as numbers, or leave it out."
        )
    values = array.to_numpy(zero_copy_only=False)
    values = values.astype(np.float32 if values.dtype in SINGLE_PRECISION else np.float64, copy=False)
    if (bad := ~np.isfinite(values)).any():
        row = int(np.argmax(bad))
        raise DatasetFileError(
            f"{path} has {values[row]} in the column {name!r}, first in row {row // each}: remove or repair such rows."
        )
    return values


def scalars(path: pathlib.Path, name: str, column: Any) -> np.ndarray:
    """Numbers of shape (N,)."""
    values = numbers(path, name, column)
    if math.prod(values.shape[1:]) != 1:
        raise DatasetFileError(
            f"{path} has {math.prod(values.shape[1:])} numbers per row in the column {name!r}, and one is needed: "
            "choose another column."
        )
    return values.reshape(len(values))


def flags(path: pathlib.Path, name: str, column: Any) -> np.ndarray:
    """Booleans of shape (N,), from booleans or from 0 and 1."""
    values = scalars(path, name, column)
    if (bad := (values != 0) & (values != 1)).any():
        row = int(np.argmax(bad))
        raise DatasetFileError(
            f"{path} has {values[row]:g} in the column {name!r}, first in row {row}: only 0 and 1 (or false and true) "
            "are allowed."
        )
    return values.astype(bool)


def episodes(path: pathlib.Path, name: str, column: Any) -> np.ndarray:
    """One number for each different episode, of shape (N,): of numbers, texts or dates. Large integers stay different,
    since they become no floats."""
    pa, array = package("pyarrow", what=NEEDS), _whole(path, name, column)
    if pa.types.is_nested(array.type) or pa.types.is_floating(array.type) or pa.types.is_decimal(array.type):
        return scalars(path, name, array)
    if pa.types.is_large_string(array.type) and "" in array.unique().to_pylist():
        raise _missing(path, name, int(np.argmax([not text for text in array.to_pylist()])))
    return array.dictionary_encode().indices.to_numpy(zero_copy_only=False)


def times(path: pathlib.Path, name: str, column: Any) -> np.ndarray:
    """Numbers of shape (N,) in the column's own unit; of dates, times and integers since the first row, which is
    exact."""
    pa, array = package("pyarrow", what=NEEDS), _whole(path, name, column)
    if pa.types.is_large_string(array.type):
        array = _dates(path, name, array)
    if pa.types.is_temporal(array.type) and not pa.types.is_interval(array.type):
        narrow = pa.types.is_time32(array.type) or pa.types.is_date32(array.type)
        array = (array.cast(pa.int32()) if narrow else array).cast(pa.int64())
    if pa.types.is_integer(array.type):
        since = array.to_numpy(zero_copy_only=False).astype(np.int64)
        return since - since[:1]
    return scalars(path, name, array)


def _dates(path: pathlib.Path, name: str, array: Any) -> Any:
    """Text as dates or as times of day."""
    pa, compute = package("pyarrow", what=NEEDS), package("pyarrow.compute", what=NEEDS)
    day, space = (pa.scalar(text, pa.large_string()) for text in ("1970-01-01", " "))
    today = compute.binary_join_element_wise(day, array, space)
    for texts, zone in ((array, None), (array, "UTC"), (today, None)):
        try:
            return texts.cast(pa.timestamp("ns", zone))
        except pa.ArrowException:
            continue
    raise DatasetFileError(
        f"{path} has text such as {reprlib.repr(array[0].as_py())} in the column {name!r}, which is no time: write "
        "numbers, or dates such as 2026-01-31 14:30:00.25."
    )


def parquet_names(path: pathlib.Path) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        DatasetFileError: If it is damaged, or no Parquet file.
    """
    return _parquet(path, lambda file: list(file.schema_arrow.names))


def parquet_columns(path: pathlib.Path, names: list[str]) -> dict[str, Any]:
    """Columns of a Parquet file, by name.

    Raises:
        DatasetFileError: If it is damaged, or no Parquet file.
    """

    def read(file: Any) -> dict[str, Any]:
        table = file.read(columns=names)
        return {name: table.column(name) for name in names}

    return _parquet(path, read)


def refused() -> tuple[type[Exception], ...]:
    """What pyarrow raises for files that are cut or changed."""
    error = package("pyarrow", what=NEEDS).ArrowException
    return (error, OSError, ValueError, KeyError, EOFError, MemoryError, OverflowError, NotImplementedError)


def _parquet(path: pathlib.Path, use: Any) -> Any:
    parquet, first = package("pyarrow.parquet", what=NEEDS), beginning(path)
    if first.startswith(b"version https://git-lfs"):
        raise DatasetFileError(
            f"{path} is a pointer of Git LFS to a file that is not here: fetch it with git lfs pull."
        )
    if not first.startswith(PARQUET):
        raise DatasetFileError(f"{path} is {kind_of(path)}, not a Parquet file: fetch or save it again.")
    try:
        with parquet.ParquetFile(path) as file:
            return use(file)
    except refused() as error:
        what = "damaged, or does not fit into memory" if isinstance(error, MemoryError) else "truncated or damaged"
        raise DatasetFileError(f"{path} is {what} ({type(error).__name__}): fetch or save it again.") from error


def _whole(path: pathlib.Path, name: str, column: Any, each: int = 1) -> Any:
    """One array without missing values, dictionaries and extension types; text as large strings."""
    pa = package("pyarrow", what=NEEDS)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    while isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    if array.null_count:
        raise _missing(path, name, int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))) // each)
    return array


def _missing(path: pathlib.Path, name: str, row: int) -> DatasetFileError:
    return DatasetFileError(
        f"{path} has no value in the column {name!r}, first in row {row}: fill it, or leave out the row or the column."
    )


def _no_number(path: pathlib.Path, name: str, array: Any, each: int) -> DatasetFileError:
    """The sentence for a column of text: its first cell that is no number."""
    for index, text in enumerate(array.to_pylist()):
        try:
            float(text)
        except ValueError:
            if not text.strip():
                return _missing(path, name, index // each)
            return DatasetFileError(
                f"{path} has the text {reprlib.repr(text)} in the column {name!r}, first in row {index // each}: "
                "correct it (1.5 has a point, not a comma), or leave the column out."
            )
    return DatasetFileError(f"{path} has numbers as text in the column {name!r}: save them as numbers.")
