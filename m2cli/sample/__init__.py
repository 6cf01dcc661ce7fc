"""The generator of samples: a shop's days, and the truth about them."""
