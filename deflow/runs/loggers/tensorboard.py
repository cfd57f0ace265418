"""TensorBoard's event files: `tensorboard --logdir runs`."""

import importlib
import io
import logging
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..atomic_files import read_json, write_json
from .base import AbstractLogger, LoggedRun, register

FOLDER = "tensorboard"
"""The event files' folder, in the run's directory."""

STATE = Path("loggers", "tensorboard.json")
"""Where the names of the event files are kept, in the run's directory."""

SHOWN = ("evaluation/success", "evaluation/episode.return", "estimate/value")
"""Metrics beside the configurations, in the table of all runs."""

WIDTH, RATE = 320, 10
"""Largest width and frames per second of a video, which TensorBoard shows as a GIF."""


@register("tensorboard")
class TensorBoard(AbstractLogger):
    """Event files in the run's directory, one for each time that training begins, goes on or goes back.

    They are written here and now, without the threads of tensorboardX's own writers, which hang where a disk is full.
    """

    package: ClassVar[str | None] = "tensorboardX"
    extra: ClassVar[str | None] = "tensorboard"
    forgets: ClassVar[bool] = True

    def holds(self, run: LoggedRun) -> bool:
        try:
            names = read_json(run.path / STATE)["files"]
        except FileNotFoundError:  # from before they were written down
            return any((run.path / FOLDER).glob("*.tfevents.*"))
        except (OSError, ValueError, KeyError):
            return False
        return all((run.path / FOLDER / name).is_file() for name in names)

    def open(self, run: LoggedRun, after: int) -> None:
        logging.getLogger("tensorboardX.x2num").setLevel(logging.ERROR)  # it warns of every number that is not finite
        names = ("event_file_writer", "summary", "proto.event_pb2")
        event_file_writer, summary, event_pb2 = (importlib.import_module(f"tensorboardX.{name}") for name in names)
        folder = run.path / FOLDER
        folder.mkdir(exist_ok=True)
        before = sorted(path.name for path in folder.glob("*.tfevents.*"))  # the order in which they are read
        number = 1 + max((int(name.partition(".")[0]) for name in before), default=0)
        self._writer = event_file_writer.EventsWriter(str(folder / f"{number:04d}"))
        self._summary, self._event = summary, event_pb2.Event
        if before:  # readers drop what they have from this step on
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(after + 1, session_log=start)
        if after < 0:
            for each in summary.hparams(run.flat_config(), dict.fromkeys(SHOWN, 0.0)):
                self._write(0, summary=each)
        self._file = next(folder.glob(f"{number:04d}.*"), folder / f"{number:04d}.tfevents")
        write_json(run.path / STATE, {"files": [*before, self._file.name]})
        self.flush()  # which says that it is gone already, if it is

    def row(self, step: int, metrics: Mapping[str, float]) -> None:
        values = [self._summary.scalar(name, value).value[0] for name, value in metrics.items()]
        self._write(step, summary=self._summary.Summary(value=values))

    def picture(self, name: str, path: Path, step: int) -> None:
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])  # of a PNG
        self._image(name, content, (width, height), step)

    def video(self, name: str, path: Path, step: int) -> None:
        content, size = gif(path)
        self._image(name, content, size, step)

    def flush(self) -> None:
        self._writer.flush()
        if not self._file.exists():
            raise FileNotFoundError(f"{self._file} is gone; when the run is resumed, it gets all rows")

    def close(self) -> None:
        self._writer.close()

    def _image(self, name: str, content: bytes, size: tuple[int, int], step: int) -> None:
        image = self._summary.Summary.Image(width=size[0], height=size[1], colorspace=3, encoded_image_string=content)
        self._write(step, summary=self._summary.Summary(value=[self._summary.Summary.Value(tag=name, image=image)]))
        self._writer.flush()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._event(wall_time=time.time(), step=step, **content))


def gif(path: Path) -> tuple[bytes, tuple[int, int]]:
    """A video as a small GIF, and its size.

    Raises:
        ImportError: If imageio-ffmpeg, which decodes it, is not installed.
    """
    import imageio.v3
    from PIL import Image

    rate = float(imageio.v3.immeta(path, plugin="FFMPEG")["fps"])
    keep = max(1, round(rate / RATE))
    frames = [
        Image.fromarray(frame)
        for number, frame in enumerate(imageio.v3.imiter(path, plugin="FFMPEG"))
        if number % keep == 0
    ]
    size = (min(WIDTH, frames[0].width), frames[0].height * min(WIDTH, frames[0].width) // frames[0].width)
    first, *rest = [frame.resize(size) for frame in frames]
    content = io.BytesIO()
    first.save(content, "GIF", save_all=True, append_images=rest, duration=1000 * keep / rate, loop=0)
    return content.getvalue(), size
