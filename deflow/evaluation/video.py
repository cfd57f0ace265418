"""Films as files: an MP4, and beside it a GIF that is small enough for a README."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, EvaluationError, FolderError
from ..paths import absolute
from ..types import check_number
from ..workers import environment_variables
from .film import Film

MOST_EPISODES = 16
"""Most episodes that are shown side by side."""

PER_SECOND = 20
"""Pictures in a second: the pace of OGBench's robots, if one is taken after every step."""

MOST_GIF_BYTES = 2_500_000
"""Size that a GIF must not exceed, as long as fewer pixels and pictures help."""

_WIDTH = 320  # of an episode in the MP4, in pixels
_GIF_FORMS = ((200, 2), (160, 2), (160, 4), (120, 4), (100, 10))  # width of an episode, and which pictures are kept
_COLOURS = 128


class Video(NamedTuple):
    """The files of a video."""

    mp4: Path
    """The video."""

    gif: Path
    """The same with fewer pixels, pictures and colours."""


def check_video(path: str | os.PathLike[str], episodes: int = 1) -> Path:
    """The absolute path, if a video of so many episodes can be written there. Makes its folder.

    Raises:
        DataError: If imageio with its ffmpeg is not installed.
        FolderError: If the folder cannot be made or written to.
        ValueError: If the name does not end in .mp4, or one video cannot show so many episodes.
    """
    path = absolute(path)
    if path.suffix != ".mp4":
        raise ValueError(f"A video's name must end in .mp4, got {path.name}.")
    check_number("A video", "episodes", episodes, int)
    if not 1 <= episodes <= MOST_EPISODES:
        raise ValueError(f"A video shows 1 to {MOST_EPISODES} episodes, got {episodes}.")
    for each in (path, path.with_suffix(".gif")):
        if each.is_dir():
            raise FolderError(f"{each} is a folder: choose another path for the video.")
    _imageio()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        reason = error.strerror or error
        raise FolderError(f"No video can be written to {path.parent} ({reason}): choose another path.") from error


def write_video(films: Sequence[Film], path: str | os.PathLike[str], *, title: str = "") -> Video:
    """Write films side by side into an MP4, and into a GIF of the same name.

    Each file is written under another name first, so an interruption leaves what was there before.

    Raises:
        DataError: If imageio with its ffmpeg is not installed.
        FolderError: If the folder cannot be made or written to.
        EvaluationError: If a file cannot be written all the same.
        ValueError: As for `check_video`.
    """
    path = check_video(path, len(films))
    video = Video(path, path.with_suffix(".gif"))
    try:
        with _replacing(video.mp4) as partial:
            _write_mp4(films, partial, title)
        with _replacing(video.gif) as partial:
            _write_gif(films, partial, title)
    except OSError as error:
        raise EvaluationError(f"The video {path} cannot be written: {error.strerror or error}.") from error
    return video


def _write_mp4(films: Sequence[Film], path: Path, title: str) -> None:
    from .sheet import Sheet

    sheet = Sheet(films, title, _WIDTH)
    with _mp4(path) as writer:
        for number in range(len(sheet)):
            writer.append_data(np.asarray(sheet.draw(number)))


@contextlib.contextmanager
def _mp4(path: Path) -> Iterator[Any]:
    writer = _imageio().get_writer(
        path,
        format="FFMPEG",
        fps=PER_SECOND,
        codec="libx264",
        quality=8,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart"],  # a browser shows it while it loads
    )
    # Else ffmpeg, which starts with the first image, starts by a fork, which JAX's threads do not allow.
    with environment_variables({"IMAGEIO_FFMPEG_NO_PREVENT_SIGINT": "1"}):
        try:
            yield writer
            writer.close()
            _check_written(path)
        except BaseException:
            with contextlib.suppress(Exception):  # Ctrl-C has ended ffmpeg, too
                writer.close()
            raise


def _check_written(path: Path) -> None:
    """Raises an OSError if the file cannot be read to its end: ffmpeg says nothing when the disk is full."""
    try:
        with _imageio().get_reader(path, format="FFMPEG") as reader:
            reader.count_frames()
    except Exception as error:
        raise OSError(errno.EIO, "ffmpeg has not finished it, as when the disk is full") from error


def _write_gif(films: Sequence[Film], path: Path, title: str) -> None:
    from PIL import Image

    from .sheet import Sheet

    for width, every in _GIF_FORMS:
        sheet = Sheet(films, title, width)
        images = [sheet.draw(number) for number in range(0, len(sheet), every)]
        sample = Image.new("RGB", (sheet.size[0], 3 * sheet.size[1]))
        for place, image in enumerate((images[0], images[len(images) // 2], images[-1])):
            sample.paste(image, (0, place * sheet.size[1]))
        # The same colours in all, and no dithering: what does not move takes no space.
        colours = sample.quantize(_COLOURS, Image.Quantize.FASTOCTREE)  # which keeps the colour of small things
        images = [image.quantize(palette=colours, dither=Image.Dither.NONE) for image in images]
        duration = 1000 * every // PER_SECOND
        images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0)
        if path.stat().st_size <= MOST_GIF_BYTES:
            return


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside this one for a file that takes its place once it is complete."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _imageio() -> Any:
    """The package imageio, once it is sure that it finds an ffmpeg."""
    try:
        import imageio.v2
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise DataError("Videos need the package imageio with its ffmpeg: pip install 'deflow[video]'.") from error
    return imageio.v2
