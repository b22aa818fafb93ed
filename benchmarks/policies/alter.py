"""A change to the program -> the function that plants it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.policies.planting import edit, wrap


def limits(**changes: Callable[[Any], Any]) -> Callable[[], None]:
    """Give the scheduler limits that differ from the options."""

    def wrapper(init: Any) -> Any:
        def changed(self: Any, fetch: Any, given: Any, *args: Any, **kwargs: Any) -> None:
            new = {name: change(given) for name, change in changes.items()}
            init(self, fetch, replace(given, **new), *args, **kwargs)

        return changed

    return lambda: wrap("crawler.engine.schedule:Scheduler.__init__", wrapper)


def results(change: Callable[[Any], Any]) -> Callable[[], None]:
    """Change every result on its way to the outputs and the counts; None loses it."""

    def wrapper(take: Any) -> Any:
        async def changed(self: Any, results: Any) -> None:
            for result in results:
                new = change(result)
                for one in new if isinstance(new, list) else [new]:
                    if one is not None:
                        await take(self, [one])

        return changed

    return lambda: wrap("crawler.app.collect:Collector._accept_results", wrapper)


def attempts(change: Callable[[Any], dict[str, Any]]) -> Callable[[], None]:
    """Change the attempt of every result by the fields that `change` returns."""
    return results(lambda r: replace(r, attempt=replace(r.attempt, **change(r))))


def code(place: str, *pairs: tuple[str, str]) -> Callable[[], None]:
    """Replace texts in a function, as `planting.edit` does."""
    return lambda: edit(place, *pairs)


def value(place: str, wrapper: Callable[[Any], Any]) -> Callable[[], None]:
    """Replace a function or a value, as `planting.wrap` does."""
    return lambda: wrap(place, wrapper)


def doing_nothing(_function: Any) -> Any:
    return lambda *_args, **_kwargs: None


def returning(value: Any) -> Callable[[Any], Any]:
    return lambda _function: lambda *_args, **_kwargs: value


def ignoring_cut_bodies(result: Any) -> Any:
    """Return a result in which an incomplete body is not an error."""
    from crawler.models import ErrorKind, Outcome

    if result.attempt.error is None or result.attempt.error.kind is not ErrorKind.BODY_INCOMPLETE:
        return result
    attempt = replace(result.attempt, error=None, size=0, ttfb=result.attempt.latency)
    return replace(result, outcome=Outcome.RESPONDED, attempt=attempt)


def exit_code(wrong: dict[int, int]) -> Callable[[], None]:
    """Replace the exit codes that are keys of `wrong` by its values."""

    def wrapper(right: Any) -> Any:
        return lambda summary: wrong.get(right(summary), right(summary))

    return lambda: wrap("crawler.core.exitcode:exit_code", wrapper)
