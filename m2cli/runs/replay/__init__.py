"""A replay: events once more in the order in which they arrived, through the batches of a pipeline, and a verdict."""
