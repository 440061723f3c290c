"""What daemons, engines, init systems and runtimes say when a port fails them: a line to an Attempt. Pure."""
