"""What ends a verb with exit code 5: a salt that is missing, destroyed, or not kept as a secret is."""

from __future__ import annotations

from m2cli.errors import ExitCode, M2Error


class PrivacyError(M2Error):
    """A salt that cannot be used; the message says why and what to do, and never what it is."""

    exit_code = ExitCode.PRIVACY


class MissingSaltError(PrivacyError):
    """There is no salt of a year in which a visit started."""

    def __init__(self, year: int, where: str, hint: str) -> None:
        self.year, self.where = year, where
        super().__init__(f"there is no salt of {year} in `{where}`; {hint}")


class DestroyedSaltError(PrivacyError):
    """A salt that was destroyed: what its year's visits were called can never be made again."""

    def __init__(self, year: int, fingerprint: str, destroyed_time: str) -> None:
        self.year, self.fingerprint, self.destroyed_time = year, fingerprint, destroyed_time
        super().__init__(
            f"the salt of {year} ({fingerprint}) was destroyed on {destroyed_time[:10]}; visits that started in {year} "
            "cannot be anonymized again: a new salt would give the same people other pseudonyms"
        )


class ExposedSaltError(PrivacyError):
    """A salt, or the folder of salts, that others than its owner can reach."""

    def __init__(self, path: object, reason: str, hint: str) -> None:
        self.path, self.reason, self.hint = path, reason, hint
        super().__init__(f"`{path}` {reason}; {hint}")


class BadSaltError(PrivacyError):
    """Something in the place of a salt that is none."""

    def __init__(self, where: object, hint: str) -> None:
        self.where, self.hint = where, hint
        super().__init__(f"what `{where}` holds is no salt; {hint}")
