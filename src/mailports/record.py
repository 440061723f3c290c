"""The one way that nouns are made: immutable named tuples that are cheap to create.

A class that derives from `Record` is a named tuple. To the type checker it *is*
``typing.NamedTuple``; at run time it is built on ``collections.namedtuple``, because
importing ``typing`` and evaluating annotations costs a start-up that ``mailports
status`` can't spend (17 classes: 2.7 ms here, 8.9 ms with ``typing.NamedTuple``,
22.8 ms with frozen slotted dataclasses).

Annotations must stay strings (``from __future__ import annotations``); `formats.shape`
reads them to encode, decode and describe a noun.

Limits: no inheritance between nouns, no zero-argument ``super()`` in their methods.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    from collections import namedtuple

    _KEPT_BY_NAMEDTUPLE = frozenset(("__new__", "__slots__", "__getnewargs__", "_fields", "_field_defaults", "_make"))

    class _RecordType(type):
        def __new__(mcs, name, bases, namespace):
            if not bases:
                return type.__new__(mcs, name, bases, namespace)
            fields = list(namespace.get("__annotations__", ()))
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            noun = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            for key, value in namespace.items():
                if key not in _KEPT_BY_NAMEDTUPLE:
                    setattr(noun, key, value)
            return noun

    class Record(metaclass=_RecordType):
        """Base of every noun; see the module."""


__all__ = ["Record"]
