"""Downloads against a real server on this machine: interrupted, resumed, wrong, twice at once."""

import hashlib
import http.server
import io
import multiprocessing
import pathlib
import re
import threading
import time

import numpy as np
import pytest

from deflow.data import Official, load_task
from deflow.data.download import Patience, download
from deflow.errors import DataError, DatasetFileError, DownloadError, FolderError

QUICK = Patience(attempts=3, delay=0.01, timeout=2.0)
NAME = "pointmaze-medium-navigate-singletask-task1-v0"
DATASET = "pointmaze-medium-navigate-v0"

pytestmark = pytest.mark.filterwarnings("ignore::deflow.errors.DataWarning")


def npz(rows=3000, seed=0):
    """Bytes of a file in OGBench's format for pointmaze."""
    generator = np.random.default_rng(seed)
    positions = generator.uniform(0, 20, (rows, 2)).astype(np.float32)
    terminals = np.arange(rows) % 100 == 99
    terminals[-1] = True
    file = io.BytesIO()
    actions = generator.uniform(-1, 1, (rows, 2)).astype(np.float32)
    np.savez(file, observations=positions, actions=actions, terminals=terminals, qpos=positions, qvel=0 * positions)
    return file.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; the next answers break off after the byte counts in `cuts`, or are the codes in `answers`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.answers: list[int] = []
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.pause = 0.0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        body = self.server.files.get(self.path.lstrip("/"))
        code = self.server.answers.pop(0) if self.server.answers else 200 if body is not None else 404
        if body is None or code != 200:
            self.send_error(code)
            return
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        start = 0
        if wanted and self.server.ranges and self.headers.get("If-Range") == tag:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # pyright: ignore[reportOptionalSubscript]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        time.sleep(self.server.pause)
        cut = self.server.cuts.pop(0) if self.server.cuts else len(body)
        self.wfile.write(body[start : start + cut])
        if cut < len(body) - start:
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def filled(server):
    server.files = {f"{DATASET}.npz": npz(), f"{DATASET}-val.npz": npz(500, 1), "a.npz": npz()}
    return server


def get(server, path, file="a.npz", patience=QUICK):
    download(f"{server.url}/{file}", path, progress=False, patience=patience)


def test_an_interrupted_download_goes_on_where_it_stopped(filled, tmp_path):
    filled.cuts = [10_000, 20_000]
    get(filled, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == filled.files["a.npz"]
    assert [wanted for _, wanted in filled.requests] == [None, "bytes=10000-", "bytes=30000-"]
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["a.npz"]


def test_a_later_process_goes_on_where_an_earlier_one_gave_up(filled, tmp_path):
    filled.cuts = [10_000, 0, 0]
    with pytest.raises(DownloadError, match=r"the connection ended after 0.0 MB of 0.1 MB, after 3 attempts"):
        get(filled, tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()
    get(filled, tmp_path / "a.npz")
    assert filled.requests[-1] == ("/a.npz", "bytes=10000-")
    assert (tmp_path / "a.npz").read_bytes() == filled.files["a.npz"]


def test_a_file_that_changed_on_the_server_starts_again(filled, tmp_path):
    filled.cuts = [10_000, 0, 0]
    with pytest.raises(DownloadError):
        get(filled, tmp_path / "a.npz")
    filled.files["a.npz"] = npz(seed=9)
    get(filled, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == filled.files["a.npz"]


def test_a_server_without_ranges_starts_again(filled, tmp_path):
    filled.ranges = False
    filled.cuts = [10_000]
    get(filled, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == filled.files["a.npz"]


def test_passing_troubles_are_waited_out_but_not_for_ever(filled, tmp_path):
    filled.answers = [503, 429]
    get(filled, tmp_path / "a.npz")
    filled.answers = [500, 502, 503]
    with pytest.raises(DownloadError, match="HTTP 503 Service Unavailable, after 3 attempts"):
        get(filled, tmp_path / "b.npz")


def test_a_silent_server_times_out(filled, tmp_path):
    filled.pause = 1.0
    with pytest.raises(DownloadError, match="after 1 attempts"):
        get(filled, tmp_path / "a.npz", patience=Patience(attempts=1, timeout=0.2))


def test_a_missing_file_is_not_asked_for_twice(filled, tmp_path):
    with pytest.raises(DownloadError, match="HTTP 404 Not Found"):
        get(filled, tmp_path / "b.npz", "b.npz")
    assert len(filled.requests) == 1


def test_a_page_instead_of_a_file_is_refused(filled, tmp_path):
    filled.files["a.npz"] = b"<html>Sign in</html>"
    with pytest.raises(DownloadError, match="did not send an npz file"):
        get(filled, tmp_path / "a.npz")
    assert not list(tmp_path.glob("a.npz*"))


def test_a_full_disk_is_noticed_first(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(FolderError, match=r"has 0\.0 MB free"):
        get(filled, tmp_path / "a.npz")


def test_nonsense_is_no_address(tmp_path):
    with pytest.raises(DownloadError, match="is not a valid address"):
        download("a.npz", tmp_path / "a.npz", progress=False, patience=QUICK)


def test_two_processes_fetch_a_file_once(filled, tmp_path):
    filled.pause = 0.5
    spawn = multiprocessing.get_context("spawn")
    arguments = (f"{filled.url}/a.npz", tmp_path / "a.npz")
    processes = [spawn.Process(target=download, args=arguments, kwargs={"progress": False}) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(filled.requests) == 1
    assert (tmp_path / "a.npz").read_bytes() == filled.files["a.npz"]


def test_a_task_is_downloaded_recorded_and_then_kept(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DEFLOW_DATA_URL", f"{filled.url}/")
    task = load_task(NAME, data_dir=tmp_path / "data", progress=False)
    assert len(task.train) == 2970
    assert task.validation is not None
    assert len(task.validation) == 495
    assert task.provenance.source == "official"
    assert task.provenance.sha256 == hashlib.sha256(filled.files[f"{DATASET}.npz"]).hexdigest()
    assert task.provenance.path == str(tmp_path / "data/official" / f"{DATASET}.npz")
    filled.files.clear()
    assert load_task(NAME, data_dir=tmp_path / "data").provenance == task.provenance
    sibling = load_task(NAME.replace("task1", "task4"), data_dir=tmp_path / "data")  # tasks share the file
    assert sibling.provenance == task.provenance
    assert not np.array_equal(sibling.train.mask, task.train.mask)


def test_a_file_that_changed_since_its_first_use_is_refused(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    load_task(NAME, Official(filled.url), data_dir=tmp_path, progress=False)
    (tmp_path / "official" / f"{DATASET}.npz").write_bytes(npz(seed=5))
    with pytest.raises(DatasetFileError, match=r"has changed since its first use .* delete it to have it downloaded"):
        load_task(NAME, Official(filled.url), data_dir=tmp_path, progress=False)


def test_files_that_ogbench_downloaded_are_used_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    theirs = tmp_path / ".ogbench/data"
    theirs.mkdir(parents=True)
    (theirs / f"{DATASET}.npz").write_bytes(npz())
    (theirs / f"{DATASET}-val.npz").write_bytes(npz(500))
    task = load_task(NAME, Official(download=False), data_dir=tmp_path / "data")
    assert task.provenance.path == str(theirs / f"{DATASET}.npz")
    assert sorted(path.name for path in theirs.iterdir()) == [f"{DATASET}-val.npz", f"{DATASET}.npz"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (NAME, f"run `deflow collect --env {NAME}`"),
        ("antmaze-large-navigate-singletask-v0", "set DEFLOW_DATA_URL to a mirror's address, or copy the two files"),
    ],
)
@pytest.mark.parametrize(
    "source", [Official("http://127.0.0.1:9"), Official("http://no.such.host.invalid"), Official(download=False)]
)
def test_without_a_network_one_sentence_says_what_to_run(name, words, source, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(DataError) as caught:
        load_task(name, source, data_dir=tmp_path, progress=False)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(pathlib.Path(tmp_path) / "official") in str(caught.value)
