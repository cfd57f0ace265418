"""Images of online transitions: each is stored once, and the transitions have the numbers of theirs."""

import dataclasses

import equinox as eqx
import numpy as np
from jaxtyping import Array, Int, UInt8

from ..frames import Frames
from ..types import Batch, Spec


class ImageTransitions(eqx.Module):
    """Transitions of which s' and the next one's s share their images."""

    rows: Batch
    """The transitions, with the numbers of images for observations: int32 of shape (*batch, count), oldest first."""

    images: UInt8[Array | np.ndarray, "*seeds images height width channels"]
    """All images, those of each seed for itself."""

    @property
    def batch(self) -> Batch:
        """One seed's transitions, with `Frames` for observations."""
        observation, following = (
            Frames(self.images, numbers) for numbers in (self.rows.observation, self.rows.next_observation)
        )
        return dataclasses.replace(self.rows, observation=observation, next_observation=following)


Transitions = Batch | ImageTransitions
"""Transitions as they are stored."""


def as_batch(transitions: Transitions) -> Batch:
    """One seed's stored transitions as a batch, whose observations may be `Frames`."""
    return transitions.batch if isinstance(transitions, ImageTransitions) else transitions


class ImageStore:
    """Images for each of S seeds, of which an entry is used again once nothing refers to it.

    It has room for an eighth more images than there are slots for transitions: an episode has one more image than
    transitions. Where episodes are shorter than eight steps it grows.
    """

    def __init__(self, spec: Spec, *, seeds: int, slots: int):
        self.count = spec.frame_stack
        self.images = np.zeros((seeds, room_for(slots), *spec.frame_shape), np.uint8)
        """The entries, of shape (S, room, height, width, channels)."""
        self._uses = np.zeros(self.images.shape[:2], np.int32)
        self._free: list[list[int]] = [[] for _ in range(seeds)]  # used before
        self._untouched = [0] * seeds  # the first entry that was never used

    @property
    def room(self) -> int:
        """Images for which there is room."""
        return self.images.shape[1]

    def add(
        self, seed: int, observation: np.ndarray, following: np.ndarray, before: list[int]
    ) -> tuple[Int[np.ndarray, " count"], Int[np.ndarray, " count"]]:
        """The numbers of the images of s and of s', which are stored unless they are there. `before` are those of the
        environment's last s', which is s unless an episode ended."""
        own = list(before)
        numbers = self._numbers(seed, observation, own), self._numbers(seed, following, own)
        for each in numbers:
            np.add.at(self._uses[seed], each, 1)
        return numbers

    def release(self, seed: int, *numbers: np.ndarray) -> None:
        """Forget transitions with images of these numbers."""
        for each in numbers:
            np.subtract.at(self._uses[seed], each, 1)
        for number in set(np.concatenate(numbers).tolist()):
            if self._uses[seed, number] == 0:
                self._free[seed].append(number)

    def state(self, seed: int, *numbers: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """The images of one seed that have these numbers, copied, in the order of the numbers, and what the numbers are
        among them."""
        used, first, place = np.unique(np.stack(numbers, axis=1), return_index=True, return_inverse=True)
        order = np.argsort(first)
        among = np.argsort(order).astype(np.int32)[place].reshape(len(numbers[0]), len(numbers), self.count)
        return self.images[seed, used[order]], [among[:, index] for index in range(len(numbers))]

    def restore(self, seed: int, images: np.ndarray, *numbers: np.ndarray) -> None:
        """Restore what `state` returned for a seed."""
        self._make_room(len(images))
        self.images[seed, : len(images)] = images
        self._uses[seed] = 0
        for each in numbers:
            np.add.at(self._uses[seed], each, 1)
        self._free[seed], self._untouched[seed] = [], len(images)

    def _numbers(self, seed: int, stack: np.ndarray, own: list[int]) -> Int[np.ndarray, " count"]:
        """The numbers of an observation's images, given those among which they may be, to which new ones are added."""
        numbers = []
        for image in np.split(np.asarray(stack), self.count, axis=-1):
            same = (number for number in own if np.array_equal(self.images[seed, number], image))
            if (number := next(same, None)) is None:
                number = self._entry(seed)
                self.images[seed, number] = image
                own.append(number)
            numbers.append(number)
        return np.asarray(numbers, np.int32)

    def _entry(self, seed: int) -> int:
        """An entry that nothing refers to."""
        if self._free[seed]:
            return self._free[seed].pop()
        self._untouched[seed] += 1
        self._make_room(self._untouched[seed])
        return self._untouched[seed] - 1

    def _make_room(self, needed: int) -> None:
        """Grow until there is room for so many images."""
        while self.room < needed:
            more = [(0, 0), (0, self.room // 4 + 1)]
            self.images = np.pad(self.images, more + [(0, 0)] * 3)
            self._uses = np.pad(self._uses, more)


def has_images(spec: Spec) -> bool:
    """Whether an observation is an image of bytes, or several."""
    return len(spec.observation_shape) == 3 and spec.observation_dtype == "uint8"


def room_for(slots: int) -> int:
    """The images for which a ring of so many transitions has room at first."""
    return slots + slots // 8 + 8
