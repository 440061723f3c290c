"""Nouns to and from versioned JSON: `shape` does it from a noun's own annotations, `documents` knows the kinds."""
