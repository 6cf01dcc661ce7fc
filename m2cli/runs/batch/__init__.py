"""One batch of a pipeline: its plan, what it takes in, how it is cut, what it carries on, its commit."""
