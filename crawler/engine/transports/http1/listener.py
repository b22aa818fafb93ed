"""What an exchange reports, and to whom."""

from typing import Protocol


class Listener(Protocol):
    """Receives what an exchange yields, in this order; the end comes exactly once.

    A head that does not come whole is an end with an error; so is a body that is cut short,
    after the head. A listener may abandon the exchange from any of these.
    """

    def head_received(self) -> None: ...

    def body_received(self, data: bytes) -> None: ...

    def exchange_ended(self, error: Exception | None) -> None: ...


class _Nobody:
    def head_received(self) -> None: ...

    def body_received(self, data: bytes) -> None: ...

    def exchange_ended(self, error: Exception | None) -> None: ...


NOBODY = _Nobody()
"""The listener of an exchange that has ended."""
