"""Downloads: retried, resumed where they stopped, by one process at a time, and written atomically."""

import dataclasses
import http.client
import json
import pathlib
import socket
import time
import urllib.error
import urllib.request
import zipfile

import filelock

from ..errors import DataError, DownloadError
from ..progress import Bar
from .folders import check_space, megabytes

CHUNK = 1 << 20
RETRIED = (408, 429, 500, 502, 503, 504)
"""HTTP status codes after which a retry may help."""


class _InterruptedError(Exception):
    """This attempt failed, but a retry may succeed."""


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a download keeps retrying."""

    attempts: int = 4
    """Consecutive attempts that may end without any new byte."""

    delay: float = 0.5
    """Seconds before the second attempt, doubled before each further one."""

    timeout: float = 30.0
    """Seconds without a response or a byte after which an attempt has failed."""


def download(url: str, path: pathlib.Path, *, progress: bool = True, patience: Patience = Patience()) -> None:
    """Download a file to `path` unless it is there. An earlier attempt's `<path>.part` is continued.

    Raises:
        DownloadError: If it cannot be downloaded. The message has no full stop, because the caller adds what to do.
        FolderError: If there is not enough space.
    """
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():  # another process was faster
            return
        part, failures, reason = path.with_name(f"{path.name}.part"), 0, ""
        while failures < patience.attempts:
            if failures:
                time.sleep(patience.delay * 2 ** (failures - 1))
            before = _size(part)
            try:
                _attempt(url, part, progress, patience.timeout)
                break
            except _InterruptedError as error:
                reason = str(error)
                failures = 1 if _size(part) > before else failures + 1
        else:
            raise DownloadError(f"{url} could not be downloaded ({reason}, after {failures} attempts)")
        if not zipfile.is_zipfile(part):
            part.unlink()
            _tag_file(part).unlink(missing_ok=True)
            raise DownloadError(f"{url} is not a dataset: the server did not send an npz file")
        part.replace(path)
        _tag_file(part).unlink(missing_ok=True)


def _attempt(url: str, part: pathlib.Path, progress: bool, timeout: float) -> None:
    """Download the rest of `part`.

    Raises:
        _InterruptedError: If the connection ends early.
    """
    start, tag = _size(part), _read_tag(part, url)
    headers = {"User-Agent": "deflow", "Accept-Encoding": "identity"}
    if start and tag:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            resumed = response.status == 206
            start = start if resumed else 0
            total = _total(response, start)
            check_space(part.parent, (total or 0) - start)
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            _tag_file(part).write_text(json.dumps({"url": url, "tag": "" if tag.startswith("W/") else tag}))
            _copy(response, part, start, total, progress, url.rsplit("/", 1)[-1])
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is no beginning of this file
            part.unlink(missing_ok=True)
            raise _InterruptedError("the partial file did not match") from error
        if error.code in RETRIED:
            raise _InterruptedError(f"HTTP {error.code} {error.reason}") from error
        raise DownloadError(f"{url} could not be downloaded (HTTP {error.code} {error.reason})") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror):  # no network, or no such host: waiting does not help
            raise DownloadError(f"{url} could not be downloaded ({error.reason.strerror})") from error
        raise _InterruptedError(str(error.reason)) from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _InterruptedError(str(error) or type(error).__name__) from error
    except DataError:
        raise
    except ValueError as error:
        raise DownloadError(f"{url} is not a valid address ({error})") from error


def _copy(
    response: http.client.HTTPResponse, part: pathlib.Path, start: int, total: int | None, progress: bool, name: str
) -> None:
    with (
        open(part, "ab" if start else "wb") as file,
        Bar(total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and _size(part) != total:
        raise _InterruptedError(f"the connection ended after {megabytes(_size(part))} of {megabytes(total)}")


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    """Size of the complete file in bytes, if the server reports it."""
    length = response.headers.get("Content-Length")
    return start + int(length) if length is not None else None


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tag_file(part: pathlib.Path) -> pathlib.Path:
    return part.with_name(f"{part.name}.json")


def _read_tag(part: pathlib.Path, url: str) -> str:
    """The identity of the file that `part` is the beginning of; empty if unknown or from another address."""
    try:
        fields = json.loads(_tag_file(part).read_text())
        return fields["tag"] if fields["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
