"""What loggers have got, read back from their files."""

import json
import struct

import numpy as np
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

from deflow.runs import Run


def of_the_files(run):
    """(step, metric, value) of every cell that is not blank."""
    return sorted(
        (row.step, name, value) for row in Run.open(run.path)._csv.rows() for name, value in row.metrics.items()
    )


def of_tensorboard(run):
    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    names = events.Tags()["scalars"]
    return sorted((event.step, name, event.value) for name in names for event in events.Scalars(name))


def records(path):
    """The records in a file of wandb's, which is a LevelDB log: blocks of 32 KiB, in which records are split."""
    content, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def histories(run):
    """The rows of each run at wandb, by its id, and their numbers."""
    wandb.teardown()  # a run that is finished may not be written yet: it waits for the process that writes
    rows, numbers = {}, {}
    for path in sorted(run.path.glob("wandb/offline-run-*/*.wandb")):
        name = path.stem.removeprefix("run-")
        for record in records(path):
            if record.WhichOneof("record_type") == "history":
                items = {tuple(i.nested_key) or (i.key,): json.loads(i.value_json) for i in record.history.item}
                items = {key[0]: value for key, value in items.items() if len(key) == 1}  # a picture has several
                numbers.setdefault(name, []).append(items["_step"])
                step = items["step"]
                found = [(step, key, value) for key, value in items.items() if key != "step" and key[0] != "_"]
                rows.setdefault(name, []).extend(found)
    return rows, numbers


def of_wandb(run):
    """The rows of the newest of its runs."""
    rows, numbers = histories(run)
    name = json.loads((run.path / "loggers" / "wandb.json").read_text())["id"]
    assert numbers[name] == list(range(len(numbers[name])))  # over all its processes
    return sorted(rows[name])


def assert_rows(got, run, rtol=0.0):
    wanted = of_the_files(run)
    assert [row[:2] for row in got] == [row[:2] for row in wanted]
    np.testing.assert_allclose([row[2] for row in got], [row[2] for row in wanted], rtol=rtol)


def assert_both(run):
    assert_rows(of_tensorboard(run), run, rtol=1e-6)  # which has float32
    assert_rows(of_wandb(run), run)
