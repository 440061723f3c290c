"""Nouns: named tuples that are cheap to make."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from mailports.model import facts, findings, overview, stories, verdicts
from mailports.model.facts import Endpoint, Holder
from mailports.model.findings import Finding
from mailports.record import Record


def nouns() -> list[Any]:
    """Every noun of the model."""
    found = []
    for module in (facts, findings, overview, stories, verdicts):
        classes = [value for value in vars(module).values() if inspect.isclass(value) and hasattr(value, "_fields")]
        found += [noun for noun in classes if noun.__module__ == module.__name__]
    return found


def filled(noun: Any) -> Any:
    """A noun of which only the fields without a default are given."""
    return noun(**{field: field for field in noun._fields if field not in noun._field_defaults})


class Pair(Record):
    """Two things."""

    left: str
    right: int = 2

    @property
    def both(self) -> str:
        """Return both."""
        return f"{self.left}{self.right}"


def test_a_noun_is_a_tuple_with_names() -> None:
    """It unpacks, compares and hashes as the tuple of its fields."""
    assert Pair("a", 3) == ("a", 3)
    assert hash(Pair("a", 3)) == hash(("a", 3))
    assert Pair("a")._replace(left="b") == Pair("b", 2)


def test_what_a_class_says_is_kept() -> None:
    """Docstring, default, annotation, module and methods are those of the class."""
    assert (Pair.__doc__, Pair.__module__, Pair.__qualname__) == ("Two things.", __name__, "Pair")
    assert Pair("a").both == "a2"
    assert Pair.__annotations__ == {"left": "str", "right": "int"}


@pytest.mark.parametrize("noun", nouns(), ids=lambda noun: noun.__name__)
def test_nouns_are_immutable(noun: Any) -> None:
    """Neither a field nor anything else can be set."""
    made = filled(noun)
    for name in (noun._fields[0], "something_else"):
        with pytest.raises(AttributeError):
            setattr(made, name, None)


@pytest.mark.parametrize("noun", nouns(), ids=lambda noun: noun.__name__)
def test_nouns_can_be_pickled_and_hashed(noun: Any) -> None:
    """A noun survives a pipe, and can be a key."""
    made = filled(noun)
    assert pickle.loads(pickle.dumps(made)) == made
    assert type(pickle.loads(pickle.dumps(made))) is noun
    assert {made: 1}[made] == 1


@pytest.mark.parametrize("noun", nouns(), ids=lambda noun: noun.__name__)
def test_nouns_say_what_they_are(noun: Any) -> None:
    """Each has a docstring of its own, and describes each field where it has an `Attributes:` section."""
    assert noun.__doc__
    assert not noun.__doc__.startswith(f"{noun.__name__}(")
    if "Attributes:" in noun.__doc__:
        assert [field for field in noun._fields if f"        {field}: " not in noun.__doc__] == []


def test_defaults_are_immutable() -> None:
    """No default could be shared and changed."""
    defaults = [default for noun in nouns() for default in noun._field_defaults.values()]
    assert {type(default) for default in defaults} <= {str, int, bool, tuple, type(None)}


def test_a_missing_field_is_an_error() -> None:
    """A field without a default must be given."""
    with pytest.raises(TypeError, match="port"):
        Endpoint("tcp", "0.0.0.0")  # type: ignore[call-arg]
    assert Holder(1).argv == ()
    assert Finding("n", "note", False, "s", None).endpoints == ()
