"""What the verbs do, one use a file: the rooms joined, facts returned, progress told by a callback."""
