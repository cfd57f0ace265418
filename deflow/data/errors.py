"""What can go wrong between a task's name and its transitions."""


class DataError(ValueError):
    """A user's mistake with tasks, files or folders: one sentence that says what to do about it."""


class UnknownTaskError(DataError):
    """No task and no Gymnasium environment has this name."""


class SpaceError(DataError):
    """The environment's observations or actions are not what DeFlow can learn from."""


class DatasetFileError(DataError):
    """A dataset file is missing, damaged, of another task, or holds what it must not."""


class FolderError(DataError):
    """A folder cannot be made, written or filled."""


class DownloadError(DataError):
    """An official file could not be fetched."""


class CollectionError(DataError):
    """A dataset cannot be collected, or its collection failed."""


class CollectionInterrupted(KeyboardInterrupt):
    """Ctrl-C during a collection: what is done is kept, and the message says how to continue."""


class DataWarning(UserWarning):
    """The data can be used, but training on it is unlikely to do what is hoped."""
