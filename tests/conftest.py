"""How hypothesis searches: `M2_HYPOTHESIS_PROFILE=soak` for thousands of examples, else a hundred or so."""

from __future__ import annotations

import os

from hypothesis import settings

# Without a deadline: the first call of a column function is slow, and the machine may be busy.
settings.register_profile("default", max_examples=100, deadline=None, print_blob=True)
settings.register_profile("soak", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("M2_HYPOTHESIS_PROFILE", "default"))
