"""The progress of filming: how many pictures there are, as the length of their files tells."""

from pathlib import Path

from ..progress import Bar
from .film import Film
from .worker import Look


class FilmProgress:
    """A progress bar over all pictures, of which there are fewer when an episode ends before its time."""

    def __init__(self, folder: Path, look: Look, episodes: int, every: int, *, shown: bool):
        self._folder, self._bytes = folder, look.picture
        self._most = 1 + -(-look.horizon // every)
        self._bar = Bar(total=episodes * self._most, desc="filming", unit="picture", leave=False, disable=not shown)

    def update(self) -> None:
        """Show how many pictures there are now."""
        taken = sum(path.stat().st_size for path in self._folder.iterdir()) // self._bytes
        self._bar.update(taken - self._bar.n)

    def ended(self, film: Film) -> None:
        """Note that an episode needs no more pictures than these."""
        self._bar.total -= self._most - len(film.moments)
        self.update()

    def __enter__(self) -> "FilmProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
