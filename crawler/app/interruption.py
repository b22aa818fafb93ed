"""The signal that ends a run -> its handlers, which each stage of the run adds."""

from collections.abc import Callable


class Interruption:
    """Calls its handlers with the number of the first signal; those added later at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._handlers: list[Callable[[int], None]] = []

    def __call__(self, number: int) -> None:
        self.signal = number
        for handler in self._handlers:
            handler(number)

    def add_handler(self, handler: Callable[[int], None]) -> None:
        self._handlers.append(handler)
        if self.signal is not None:
            handler(self.signal)
