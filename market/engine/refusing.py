"""What the engine refuses for reasons of its own; the rules of matching have their refusals in `matching.refusals`."""


class NotTaken(Exception):
    """A command the desk refuses, with a stable code and words for the person."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
