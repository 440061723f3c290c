"""From a machine to a Snapshot: what is there, and how far it was looked at. Reads only; judges nothing.

`look` composes; each other module reads one kind of fact, decoding first (pure), reading below.
"""
