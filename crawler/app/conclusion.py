"""The summary to every output -> how the run ended."""

from collections.abc import Mapping
from dataclasses import replace

from crawler.core.summary import Summary
from crawler.core.urllist import ListError
from crawler.facts import fact
from crawler.report.broadcast import Broadcast


@fact
class Conclusion:
    """How a run ended.

    `failed_outputs` maps the names of the outputs that could not be written to the reason.
    `reader_gone` says that a reader closed its pipe, which is not a failure. `fault` is the
    unexpected exception that ended the run.
    """

    summary: Summary
    list_error: ListError | None
    failed_outputs: Mapping[str, OSError]
    reader_gone: bool
    fault: Exception | None = None


async def conclude(
    outputs: Broadcast,
    summary: Summary,
    list_error: ListError | None = None,
    fault: Exception | None = None,
) -> Conclusion:
    """Give every output the summary; return how the run ended."""
    await outputs.finish_all(summary)
    if outputs.failed:
        summary = replace(summary, stats=replace(summary.stats, output_failed=True))
    return Conclusion(
        summary=summary,
        list_error=list_error,
        failed_outputs=outputs.failed,
        reader_gone=outputs.reader_gone,
        fault=fault,
    )
