"""The verbs, one a file: options into one rule, one call, one report."""
