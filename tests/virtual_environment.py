"""Virtual environments of their own that borrow everything that they do not have: nothing is downloaded."""

import importlib.util
import os
import subprocess
import sysconfig
import venv


class VirtualEnvironment:
    """A new one in a folder, and programs that run in it and in that folder."""

    def __init__(self, folder):
        # The tests' environment lends all that it has, pip too, and nothing is added to it. A line of a `.pth` file
        # that is a program, unlike a path, makes the .pth files over there count, too: that of an editable deflow.
        venv.create(folder / "environment", with_pip=importlib.util.find_spec("pip") is None)
        (own,) = (folder / "environment").glob("lib/python*/site-packages")
        lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (own / "lent.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in lent))
        self.folder, self.programs = folder, folder / "environment" / "bin"
        self.variables = {**os.environ, "COLUMNS": "200", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def install(self, *what):
        """Install folders or wheels, without what they need."""
        self("python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", *what)

    def start(self, program, *arguments):
        """A program of that environment, running."""
        command = [self.programs / program, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.variables, **pipes)

    def __call__(self, program, *arguments):
        """What a program of that environment prints."""
        process = self.start(program, *arguments)
        said, told = process.communicate()
        assert process.returncode == 0, f"{program} {arguments}\n{said}\n{told}"
        return said
