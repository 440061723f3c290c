"""Data to text, for people and for monitoring. Pure: it neither prints nor asks what the terminal is."""
