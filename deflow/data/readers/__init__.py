"""Readers: your data in whatever form it has, as named columns."""

from .base import AS_NAMED, AbstractReader, Columns, Recording, register, registry
from .npz import Npz
from .reading import absolute, package, reader_named, reader_of

__all__ = [
    "AS_NAMED",
    "AbstractReader",
    "Columns",
    "Npz",
    "Recording",
    "absolute",
    "package",
    "reader_named",
    "reader_of",
    "register",
    "registry",
]
