"""What only some rooms of the kit need, and what to say where it is missing."""


class NotInstalled(ImportError):
    """A package that a room of the kit is made of is not here."""

    def __init__(self, package: str) -> None:
        super().__init__(f"This needs {package}: pip install 'k-payments[testing]'", name=package)
