"""The command line: one module a verb, imported when it is used. It composes and decides nothing."""
