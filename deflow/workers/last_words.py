"""The last words of a process that JAX aborts because another one, which trains with it, is gone.

JAX's coordination service ends the process from C++, with the trace of a thread, and Python can say nothing any more. A
small process of its own reads what is written to stderr by then, and says it in a sentence instead.
"""

import os
import re
import subprocess
import sys

MARK = "\0last words: "
"""Begins a line on stderr that is not printed, but says what shall be."""


class LastWords:
    """What is said, from `begin` on, if JAX aborts this process."""

    def __init__(self):
        self._begun = False

    def begin(self, sentence: str) -> None:
        """Watch stderr from now on, to say `sentence` at the end."""
        original = os.dup(2)
        reading, writing = os.pipe()
        command = [sys.executable, "-S", "-E", __file__]
        subprocess.Popen(command, stdin=reading, stdout=original, start_new_session=True)
        os.close(reading)
        os.dup2(writing, 2)
        os.close(writing)
        # Python goes on where it was: on a terminal, if it is one.
        sys.stderr = os.fdopen(original, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        self._begun = True
        self.say(sentence)

    def say(self, sentence: str) -> None:
        """Another sentence from now on."""
        if self._begun:
            os.write(2, f"{MARK}{sentence}\n".encode())


last_words = LastWords()
"""Those of this process."""


def listen() -> None:
    """Passes lines from stdin to stdout, but for those with which JAX ends a process."""
    service = re.compile(r"^[EFW]\d{4} .*(coordination_service|preemption_sync|client\.h:\d+)")
    sentence, held, aborted = "", list[str](), False
    for raw in sys.stdin.buffer:
        line = raw.decode(errors="backslashreplace")
        if line.startswith(MARK):
            sentence = line.removeprefix(MARK)
            continue
        aborted = aborted or "Terminating process because the JAX distributed service" in line
        if held or service.match(line):
            held.append(line)
        else:
            sys.stdout.write(line)
            sys.stdout.flush()
    sys.stdout.write(f"error: {sentence}" if aborted else "".join(held))


if __name__ == "__main__":
    listen()
