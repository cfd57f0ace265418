"""Tables: CSV and Parquet files with one row per step."""

import codecs
import csv
import pathlib
from typing import Any

import numpy as np

from ...errors import DatasetFileError
from ..kinds import EMPTY, PARQUET, UNKNOWN, beginning, is_text, kind_of
from .arrow import NEEDS, episodes, flags, numbers, parquet_columns, parquet_names, refused, scalars, times
from .base import AbstractReader, Columns, Recording, register
from .choosing import check_rewards_are_kept, observation_and_action, single
from .joining import coordinates, episode_ends, joined
from .reading import package

RECOGNISED = {
    "reward": ("reward", "rewards"),
    "termination": ("termination", "terminations", "terminated"),
    "truncation": ("truncation", "truncations", "truncated"),
    "episode": ("episode", "episode_id", "episode_index"),
    "time": ("time", "timestamp"),
}
"""Names by which a column is known without being named, if only one of them is there."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What may separate the cells of a row."""

BEGINNING = 1 << 18
"""Bytes in which the first line ends."""

BLOCK = 1 << 30
"""Bytes of a file from which the types of its columns are known."""


@register("table")
class Table(AbstractReader):
    """A CSV file with a header, or a Parquet file. Its observations and actions are the columns that you name."""

    def suits(self, path: pathlib.Path) -> bool:
        if path.is_dir():
            return False
        first, named = _beginning(path), path.suffix.lower() in (".csv", ".tsv", ".parquet")
        if first.startswith(PARQUET) or not first or not is_text(first):
            return first.startswith(PARQUET) or (named and kind_of(path) in (EMPTY, UNKNOWN))
        return named or _has_header(first)

    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        parquet = beginning(path).startswith(PARQUET) or path.suffix.lower() == ".parquet"
        separator = None if parquet else _separator(path)
        available = parquet_names(path) if parquet else _header(path, separator or ",")
        chosen, assumed = _chosen(path, available, columns)
        wanted = list(dict.fromkeys(name for names in chosen.values() for name in names))
        if twice := [name for name in wanted if available.count(name) > 1]:
            raise DatasetFileError(f"{path} has {available.count(twice[0])} columns {twice[0]!r}: rename them.")
        source = parquet_columns(path, wanted) if parquet else _csv(path, separator or ",", wanted)
        if not len(source[wanted[0]]):
            raise DatasetFileError(f"{path} has no rows: save at least one trajectory.")
        found: dict[str, np.ndarray] = {}
        names: dict[str, tuple[str, ...]] = {}
        for field, name in (("observation", "observations"), ("action", "actions")):
            parts = {each: numbers(path, each, source[each]) for each in chosen[field]}
            found[name], names[name] = joined(path, parts, chosen[field], name), coordinates(parts, chosen[field])
        kinds = {"reward": scalars, "termination": flags, "truncation": flags, "episode": episodes, "time": times}
        read = {name: kinds[name](path, each[0], source[each[0]]) for name, each in chosen.items() if name in kinds}
        found["rewards"] = read["reward"]
        ends, rule = _ends(path, read)
        if left := [name for name in available if name not in wanted]:
            more = f" and {len(left) - 8} more" if len(left) > 8 else ""
            rule += [f"left out: {', '.join(left[:8])}{more}"]
        if separator not in (None, ","):
            rule += [f"{SEPARATORS[separator]} separate the cells"]
        return Recording(found | ends, (*assumed, *rule), names=names)


def _chosen(path: pathlib.Path, available: list[str], columns: Columns) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The columns of every field of `Columns` that the table has, and what was decided."""
    has = f"it has {', '.join(available)}"
    for field in ("observation", "action"):
        if not getattr(columns, field):
            raise DatasetFileError(
                f"{path} is a table, which does not say what the {field} is: name its columns or their pattern "
                f"(columns.{field}); {has}."
            )
    chosen = observation_and_action(path, available, columns.observation, columns.action)
    assumed = [f"{field}s = {', '.join(names)}" for field, names in chosen.items()]
    for field, known in RECOGNISED.items():
        if (given := getattr(columns, field)) is not None:
            chosen[field] = (single(path, available, given, field),)
        elif len(names := [name for name in known if name in available]) > 1:
            raise DatasetFileError(
                f"{path} has the columns {' and '.join(names)}: name the one that is the {field} (columns.{field})."
            )
        elif names:
            chosen[field] = (names[0],)
        if field in chosen:
            assumed.append(f"{field} = {chosen[field][0]}{', by its name' if given is None else ''}")
    if "reward" not in chosen:
        raise DatasetFileError(f"{path} has no reward: name its column (columns.reward); {has}.")
    if not set(chosen) & {"termination", "episode", "time"}:
        raise DatasetFileError(
            f"{path} does not say where trajectories end: name the column of the episode or of the time, or those of "
            f"termination and truncation (columns.episode, ...); {has}."
        )
    return chosen, assumed


def _ends(path: pathlib.Path, read: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns that mark where trajectories end, and the rule."""
    terminated, cut = read.get("termination"), read.get("truncation")
    episode, time = read.get("episode"), read.get("time")
    rule = []
    if episode is not None or time is not None:
        ends, words = episode_ends(episode, time)
        cut = ends if cut is None else ends | cut
        rule.append(f"trajectories end {words}")
    if episode is not None and (back := _comes_back(episode)):
        rule.append(f"{back:,} episodes come back further down, as trajectories of their own")
    if cut is not None:
        check_rewards_are_kept(path, read["reward"], cut, terminated)
    if terminated is None:
        return {"terminals": np.asarray(cut)}, rule
    return {"terminations": terminated} | ({} if cut is None else {"truncations": cut & ~terminated}), rule


def _comes_back(episode: np.ndarray) -> int:
    """How many times an episode begins that was there before."""
    begins = episode[np.append(True, episode[1:] != episode[:-1])]
    return len(begins) - len(np.unique(begins))


def _beginning(path: pathlib.Path) -> bytes:
    """The first bytes, without the mark of UTF-8 that some programs write first."""
    return beginning(path, BEGINNING).removeprefix(codecs.BOM_UTF8)


def _separator(path: pathlib.Path) -> str:
    """What separates the cells of the first line most often."""
    kind, first = kind_of(path), _beginning(path)
    if not is_text(first):
        kind = "no text in UTF-8" if kind == UNKNOWN else f"{kind}, not a table"
        raise DatasetFileError(
            f"{path} is {kind}: save it as Parquet, or as CSV with a header and a row for each step."
        )
    counts = {separator: len(_cells(first, separator)) for separator in SEPARATORS}
    return max(counts, key=lambda separator: counts[separator])


def _header(path: pathlib.Path, separator: str) -> list[str]:
    """The names of a CSV file's columns."""
    names = [name.strip() for name in _cells(_beginning(path), separator)]
    if len(names) < 2:
        raise DatasetFileError(
            f"{path} has one column, {names[0][:200]!r}: separate the cells by commas, semicolons or tabs."
        )
    if all(_is_number(name) for name in names):
        raise DatasetFileError(f"{path} begins with numbers ({', '.join(names[:4])}): add a first line of names.")
    return names


def _cells(first: bytes, separator: str) -> list[str]:
    """The cells of the first line."""
    lines = first.decode(errors="ignore").splitlines()
    try:
        return next(csv.reader(lines[:1], delimiter=separator), [""]) or [""]
    except csv.Error:
        return [""]


def _has_header(first: bytes) -> bool:
    """Whether a text begins with the names of columns, and the next line has as many cells."""
    lines = first.decode(errors="ignore").splitlines()[:2]
    for separator in SEPARATORS:
        names, row = ([cell.strip() for cell in _cells(line.encode(), separator)] for line in (*lines, "", "")[:2])
        plain = all(len(name) < 100 and not set(name) & set("{}[]<>") for name in names)
        if len(names) > 1 and plain and len(names) == len(row) and not any(map(_is_number, names)):
            return any(map(_is_number, row))
    return False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _csv(path: pathlib.Path, separator: str, names: list[str]) -> dict[str, Any]:
    """Columns of a CSV file."""
    pacsv, ragged = package("pyarrow.csv", what=NEEDS), []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    raw = _cells(_beginning(path), separator)
    written = [next(cell for cell in raw if cell.strip() == name) for name in names]
    size = min(path.stat().st_size + 1, BLOCK)  # one block: the first rows alone may look like integers
    try:
        with open(path, "rb") as file:  # a file, since a path's ending would choose a compression
            table = pacsv.read_csv(
                file,
                read_options=pacsv.ReadOptions(use_threads=False, block_size=size),  # threads would not know the row
                parse_options=pacsv.ParseOptions(delimiter=separator, invalid_row_handler=refuse),
                convert_options=pacsv.ConvertOptions(include_columns=written),
            )
    except refused() as error:
        if ragged:
            row = ragged[0]
            raise DatasetFileError(
                f"{path} has {row.actual_columns} cells in row {row.number - 2}, but {row.expected_columns} in its "
                "header: complete the row."
            ) from error
        if "Empty CSV" in str(error):  # a header without an end of its line
            raise DatasetFileError(f"{path} has no rows: save at least one trajectory.") from error
        why = str(error).partition("\n")[0].rstrip(".")
        raise DatasetFileError(f"{path} cannot be read as CSV ({why}): correct it, or save it again.") from error
    return {name: table.column(cell) for name, cell in zip(names, written, strict=True)}
