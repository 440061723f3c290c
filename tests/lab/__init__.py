"""Real daemons under real systemd, in namespaces of this machine."""
