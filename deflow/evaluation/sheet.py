"""Films side by side: an image for each picture of the longest, with what is true of each episode below its own."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .film import Film

HOLD = 20
"""Images for which the ends of all films are shown."""

_BACKGROUND, _FRAME, _TEXT, _FAINT, _SOLVED = (
    (24, 26, 30),
    (58, 62, 70),
    (230, 232, 236),
    (150, 155, 165),
    (70, 200, 110),
)
_FONT = ImageFont.load_default(13)
_BORDER, _GAP, _LINE = 4, 6, 18  # in pixels
_COLUMNS = 4
_DIMMED = 0.45


class Sheet:
    """A grid of films, each `width` pixels wide, below a title. One that has ended keeps its last picture, dimmed."""

    def __init__(self, films: Sequence[Film], title: str, width: int):
        self._films, self._pictures = films, [film.pictures() for film in films]
        self._inside = (width, max(_fitted(film, width)[1] for film in films))
        rows = math.ceil(len(films) / _COLUMNS)
        self._columns = math.ceil(len(films) / rows)
        self._cell = (width + 2 * _BORDER, self._inside[1] + 2 * _BORDER + 2 * _LINE)
        self._top = _GAP + (_LINE + _GAP if title else 0)
        right = _GAP + self._columns * (self._cell[0] + _GAP)
        bottom = self._top + rows * (self._cell[1] + _GAP)
        self.size = (right + right % 2, bottom + bottom % 2)
        """Width and height in pixels, which are even, as videos need them."""
        self._title = _shortened(title, self.size[0] - 2 * _GAP)
        self._ended: dict[int, Image.Image] = {}

    def __len__(self) -> int:
        return max(len(film.moments) for film in self._films) + HOLD

    def draw(self, number: int) -> Image.Image:
        """The image with this number, counted from 0."""
        image = Image.new("RGB", self.size, _BACKGROUND)
        ImageDraw.Draw(image).text((_GAP, _GAP), self._title, _TEXT, _FONT)
        for index, film in enumerate(self._films):
            row, column = divmod(index, self._columns)
            if number < len(film.moments):
                cell = self._draw_cell(index, number, dimmed=False)
            else:
                if index not in self._ended:
                    self._ended[index] = self._draw_cell(index, len(film.moments) - 1, dimmed=True)
                cell = self._ended[index]
            place = (_GAP + column * (self._cell[0] + _GAP), self._top + row * (self._cell[1] + _GAP))
            image.paste(cell, place)
        return image

    def _draw_cell(self, index: int, number: int, *, dimmed: bool) -> Image.Image:
        """One picture of one film in its frame, with its words below."""
        film, moment = self._films[index], self._films[index].moments[number]
        solved, failed = moment.success > 0, moment.done and moment.success == 0
        cell = Image.new("RGB", self._cell, _BACKGROUND)
        pen = ImageDraw.Draw(cell)
        width, height = self._inside
        below, right = height + 2 * _BORDER, width + 2 * _BORDER - 1
        pen.rectangle((0, 0, right, below - 1), None, _SOLVED if solved else _FRAME, _BORDER)
        # Small pictures are enlarged to sharp pixels.
        small = 2 * max(film.width, film.height) <= width
        resampling = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
        picture = Image.fromarray(self._pictures[index][number]).resize(_fitted(film, width), resampling)
        if dimmed:
            picture = Image.blend(picture, Image.new("RGB", picture.size, _BACKGROUND), _DIMMED)
        cell.paste(picture, (_BORDER + (width - picture.width) // 2, _BORDER + (height - picture.height) // 2))
        verdict = "solved" if solved else "not solved" if failed else ""
        for line, (left_words, right_words, colours) in enumerate(
            (
                (f"episode {film.episode}", verdict, (_TEXT, _SOLVED if solved else _FAINT)),
                (f"return {moment.episode_return:.4g}", f"step {moment.step}", (_FAINT, _FAINT)),
            )
        ):
            top = below + 2 + line * (_LINE - 2)
            pen.text((_BORDER, top), left_words, colours[0], _FONT)
            pen.text((right - _BORDER, top), right_words, colours[1], _FONT, anchor="ra")
        return cell


def _fitted(film: Film, width: int) -> tuple[int, int]:
    """Width and height of a film's pictures, enlarged or reduced until the longer side is this wide."""
    scale = width / max(film.width, film.height)
    return max(round(film.width * scale), 1), max(round(film.height * scale), 1)


def _shortened(words: str, width: int) -> str:
    """The words, or as many of them as fit into a width."""
    while len(words) > 1 and _FONT.getlength(words) > width:
        words = words[:-2].rstrip() + "…"
    return words
