"""mailports finds, prevents and resolves port conflicts on mail servers.

Data flows one way::

    observe -> Snapshot -> diagnose -> Findings -> report

and each step has a room of its own:

=============  ================================================================
``record``     the one way in which nouns are made
``model``      the nouns: facts (a Snapshot), findings, verdicts
``door``       what may be asked of a machine (protocols only)
``catalogue``  what is known of each mail port and of process names
``bind``       would this endpoint bind beside these sockets, and what is in the way
``formats``    nouns to and from versioned JSON, and their JSON Schemas
``firewalls``  how each firewall spells a redirect or a drop (text to facts)
``flows``      which mail flow uses a port, and what breaks with it
``remedies``   ways out, who moves, and by which rule
``diagnose``   Snapshot to Findings: the rules
``report``     data to text
``host``       the one door to a machine
``observe``    a machine to a Snapshot
``cli``        one module a verb; composes, decides nothing
``api``        the front door for programs
=============  ================================================================

This module imports nothing, so that ``mailports --version`` costs nothing.
"""

__version__ = "0.1.0"
