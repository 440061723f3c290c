"""The one door to a machine: `local` is this one."""
