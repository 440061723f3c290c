"""From pasted text to a Snapshot: `lines` undresses it, one module a dialect reads it, `assembly` joins it. Pure.

Text is hostile: every reader works on a bounded number of bounded lines, in time linear in them, and never raises.
"""
