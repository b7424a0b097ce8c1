"""What can be done with a class that is passed on as a value, and what follows from it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What is done with a class somewhere."""

    TESTED = "asked whether something is an instance of it"
    CALLED = "called, to make an object"
    SHOWN = "named in a message"
    KEY = "looked up in a dictionary, or a key of one"
    UNSEEN = "given to a library, which may do either"
    OTHER = "something that isn't followed"


@dataclass(frozen=True)
class Fates:
    """All that is done with a class, where its name is read and where a variable stands for it.

    A variable that is this class and nothing else (`known`) is rewritten where it is read.
    """

    through_known: frozenset[Fate]
    through_others: frozenset[Fate]
    known: frozenset[ast.AST]
    is_passed: bool = False  # to a parameter, which others may give another class

    @property
    def is_looked_up(self) -> bool:
        """Whether something is found by the class, and not by its being one of it."""
        found = self.through_known | self.through_others
        return Fate.KEY in found and Fate.TESTED not in found

    @property
    def is_unseen(self) -> bool:
        """Whether a library gets the class that may ask for it, and may call it."""
        return Fate.UNSEEN in self.through_known | self.through_others

    @property
    def is_asked_for(self) -> bool | None:
        """Whether the class only goes into tests; None if it does, and elsewhere too."""
        others = self.through_others - {Fate.SHOWN, Fate.KEY}
        known = self.through_known - {Fate.SHOWN, Fate.KEY}
        found = others | known if self.is_passed else others or known
        if Fate.TESTED not in found:
            return False
        if found == {Fate.TESTED}:
            return True
        return None if others or self.is_passed else False
