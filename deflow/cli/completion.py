"""Completion in a shell: of the recipes' names, and of each one's flags and parts, for which tyro writes a script."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..commands import FOLDER, RECIPES, run_recipe, said
from ..errors import UsageError

WANTED = "--tyro-write-completion"
"""tyro's own flag, which is followed by the shell and a file."""

_BASH = """\
_deflow() {
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W "%(names)s --help --version" -- "${COMP_WORDS[1]}"))
    return
  fi
  local recipe="_tyro_deflow_${COMP_WORDS[1]//-/_}"
  COMP_WORDS=("${COMP_WORDS[@]:1}") COMP_CWORD=$((COMP_CWORD - 1))
  declare -F "$recipe" > /dev/null || return
  "$recipe"
  # Of `solver:he`, bash replaces what follows the colon.
  if [[ "${COMP_WORDS[COMP_CWORD - 1]}${COMP_WORDS[COMP_CWORD]}" == *:* ]]; then COMPREPLY=("${COMPREPLY[@]##*:}"); fi
  [[ -n "${COMPREPLY[*]}" ]] || COMPREPLY=()  # nothing, and not an empty word: then bash offers files
}
complete() { :; }  # what follows would register each recipe as a program
%(scripts)s
unset -f complete
complete -o default -F _deflow deflow
"""

_ZSH = """\
#compdef deflow
_deflow() {
  if (( CURRENT == 2 )); then
    compadd -- %(names)s --help --version
    return
  fi
  shift words
  (( CURRENT-- ))
  case ${words[1]//_/-} in
%(scripts)s
  *) _files ;;
  esac
}
_deflow "$@"
"""


def completion(shell: str) -> str:
    """The script that completes `deflow` in a shell.

    Raises:
        UsageError: If it is neither bash nor zsh.
    """
    if shell not in ("bash", "zsh"):
        raise UsageError(f"Completion is there for bash and zsh, got {shell!r}: choose one of them.")
    scripts = {said(name): _script(name, shell) for name in RECIPES if name != "resume"}  # whose flags are the others'
    if shell == "bash":
        return _BASH % {"names": " ".join(map(said, RECIPES)), "scripts": "\n".join(scripts.values())}
    cases = "\n".join(f"  {name})\n{script}\n  ;;" for name, script in scripts.items())
    return _ZSH % {"names": " ".join(map(said, RECIPES)), "scripts": cases}


def _script(recipe: str, shell: str) -> str:
    """What the recipe itself writes."""
    before = sys.argv
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "script"
        sys.argv = ["deflow", WANTED, shell, str(file)]
        try:
            run_recipe(FOLDER / f"{recipe}.py")
        except SystemExit:
            return file.read_text()
        finally:
            sys.argv = before
    raise AssertionError(f"{recipe} has written no completion")


def wanted(arguments: Sequence[str]) -> bool:
    """Whether these arguments ask a recipe for its script."""
    return arguments[:1] == [WANTED]
