"""Shell completion: what may come next on a command line, and how shells ask for it.

The shells' scripts hold no words of their own; they ask the program, which reads its own parser. So
they never go stale, and ids of tasks can be completed where Redis is near. One answer serves bash,
zsh, fish and kubectl. An id is chosen by whoever orders and ends on the operator's command line:
one that a shell might read as anything but a word is not offered, and shells quote what they get.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from string import Template

BASH = Template("""\
_course_runner() {
  local word
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("$$(printf '%q' "$$word")")
  done < <($program complete -- "$${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _course_runner $program
""")

ZSH = Template("""\
#compdef $program
_course_runner() {
  local -a found
  found=("$${(@f)$$($program complete -- "$${(@)words[2,CURRENT]}" 2>/dev/null)}")
  [[ -n "$$found" ]] && compadd -- $$found || _files
}
compdef _course_runner $program
""")

FISH = Template("""\
function __course_runner
  set -l words (commandline -opc) (commandline -ct)
  $program complete -- $$words[2..] 2>/dev/null
end
complete -c $program -f -a '(__course_runner)'
""")

SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

PLAIN = re.compile(r"[\w.@:+][\w.@:+-]*", re.ASCII)
"""An id that is one word and no option to every shell."""

Ids = Callable[[], Iterable[str]]
"""Returns the ids of the tasks that are known; asked only where an id may come next."""


def script(shell: str, program: str) -> str:
    """Return the script that a shell reads once, for `eval` or a file."""
    return SHELLS[shell].substitute(program=program)


def candidates(parser: argparse.ArgumentParser, words: Sequence[str], ids: Ids) -> list[str]:
    """Return what the last of `words`, perhaps empty, may become."""
    *before, last = words or [""]
    place = _Place(parser)
    for word in before:
        place.take(word)
    return sorted(word for word in set(place.next(ids, last)) if word.startswith(last))


class _Place:
    """Where on a command line one is: the parser that counts, what of it has been given.

    argparse tells no outsider this; `_actions` is what generators of completion live on.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._enter(parser)

    def _enter(self, parser: argparse.ArgumentParser) -> None:
        actions = [one for one in parser._actions if one.help is not argparse.SUPPRESS]
        self._options = {name: one for one in actions for name in one.option_strings}
        self._words = [one for one in actions if not one.option_strings]
        self._value_of: argparse.Action | None = None
        self._only_words = False

    def take(self, word: str) -> None:
        """Go on by one word that is complete."""
        if self._value_of is not None:
            self._value_of = None
        elif word == "--" and not self._only_words:
            self._only_words = True
        elif word.startswith("-") and not self._only_words:
            option = self._options.get(word)
            self._value_of = option if option is not None and option.nargs != 0 else None
        elif self._words:
            self._take_word(word)

    def _take_word(self, word: str) -> None:
        action = self._words[0]
        if isinstance(action, argparse._SubParsersAction):
            found = action.choices.get(word)
            self._enter(found or argparse.ArgumentParser(add_help=False))
        elif action.nargs not in ("*", "+"):
            self._words.pop(0)

    def next(self, ids: Ids, last: str) -> Iterable[str]:
        """Return what may come here."""
        if self._value_of is not None:
            return _values(self._value_of, ids)
        if last.startswith("-") and not self._only_words:
            return self._options
        return _values(self._words[0], ids) if self._words else ()


def _values(action: argparse.Action, ids: Ids) -> Iterable[str]:
    if isinstance(action, argparse._SubParsersAction):
        return [one.dest for one in action._choices_actions]  # what is hidden is not in there
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    return filter(PLAIN.fullmatch, ids()) if action.metavar == "ID" else ()
