"""Files of visual sets that were collected here: with images, and a mark that tells them from OGBench's."""

import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..environments import PACKAGES, graphics_variables, renders_here
from ..environments.graphics import VARIABLE
from ..errors import CollectionError, DatasetFileError
from .episodes import read_episode
from .folders import appearing
from .npz import column_names

IMAGE_BYTES = 64 * 64 * 3
"""Bytes of an image."""

MARK = "picture_effects"
"""The column that only collected sets have: one number, 0, since their images are drawn without effects."""


def drawing_variables(dataset: str) -> Mapping[str, str]:
    """The environment variables of processes that draw.

    Raises:
        CollectionError: If nothing draws here.
    """
    variables = graphics_variables()
    if not variables and not renders_here():
        if VARIABLE in os.environ:
            raise CollectionError(
                f"{dataset} consists of images, and MuJoCo draws none with {VARIABLE}={os.environ[VARIABLE]} here: "
                "unset it to have one chosen that works."
            )
        raise CollectionError(
            f"{dataset} consists of images, and MuJoCo has no OpenGL here to draw them (neither egl nor osmesa works): "
            f"install one, on Debian by apt install {PACKAGES}."
        )
    return variables


def is_collected_visual(path: pathlib.Path) -> bool:
    """Whether the npz file is a visual set that was collected by deflow."""
    try:
        return MARK in column_names(path)
    except DatasetFileError:  # which reading it says
        return False


def write_visual(
    path: pathlib.Path, columns: Mapping[str, np.ndarray], images: Sequence[pathlib.Path]
) -> dict[str, Any]:
    """Write a set: the columns, with the images of each episode's file in place of the states. Returns how they were
    drawn.

    Raises:
        CollectionError: If an episode's images are damaged, or were not all drawn by one program.
    """
    others = {name: column for name, column in columns.items() if name != "observations"}
    shape, drawn_by = _read(images[0])["images"].shape[1:], set[str]()
    with appearing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for name, column in {**others, MARK: np.zeros((), bool)}.items():
            with file.open(_member(name), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, column, allow_pickle=False)
        with file.open(_member("observations"), "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(columns["actions"]), *shape)}
            np.lib.format.write_array_header_1_0(member, header)
            drawn = 0
            for each in images:  # an episode at a time: all of them may not fit into memory
                episode = _read(each)
                drawn += len(episode["images"])
                member.write(np.ascontiguousarray(episode["images"]).data)
                drawn_by.add(str(episode["drawn_by"]))
        if drawn != len(columns["actions"]):
            raise CollectionError(
                f"{path.parent} has {drawn:,} images of {len(columns['actions']):,} steps: delete its folder of "
                "episodes and run the same command again."
            )
        if len(drawn_by) > 1:
            raise CollectionError(
                f"The images of {path.parent} were drawn by {' and by '.join(sorted(drawn_by))}, as if on different "
                "machines: delete that folder and collect again on one."
            )
    height, width, _ = shape
    size = {"height": height, "width": width, "camera": "front_pixels"}
    return {**size, "shadows": False, "samples": 1, "drawn_by": drawn_by.pop()}


def _read(images: pathlib.Path) -> dict[str, np.ndarray]:
    if (found := read_episode(images)) is None:
        raise CollectionError(f"{images} is damaged: run the same command again to replace it.")
    return found


def _member(name: str) -> zipfile.ZipInfo:
    """A file of the archive, with the date that NumPy gives, so that the same images are the same bytes."""
    return zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
