"""From a Snapshot to Findings: pure. `seen` indexes the facts, `rules` runs the rules, the rest are the rules."""
