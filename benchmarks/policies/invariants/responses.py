"""The recorded response against what the server sent."""

from typing import Any

from benchmarks.policies.chains import Chain
from benchmarks.policies.invariants.attempts import paired
from benchmarks.policies.program import Run


def response_as_scripted(run: Run) -> list[str]:
    """Method, status, size, redirects and final URL are those of the attempt that counted."""
    found = []
    for record, pairs in paired(run):
        if not pairs or (chain := pairs[-1][1]) is None or record["outcome"] == "unreached":
            continue
        for key, due in _due(record, chain, run).items():
            if record[key] != due:
                found.append(f"index {record['index']}: {key} is {record[key]!r}, not {due!r}")
    return found


def _due(record: dict[str, Any], chain: Chain, run: Run) -> dict[str, Any]:
    last, reply = chain.last, chain.last.reply
    due: dict[str, Any] = {"method": chain.first.method, "truncated": False}
    if record["outcome"] != "responded":
        return due
    hops = [hop for hop in chain.hops if hop is not last]
    size = 0 if last.method == "HEAD" else reply.size
    return due | {
        "status": reply.status,
        "size": size,
        "blocked_by": "cloudflare" if reply.challenge else None,
        "redirects": [
            {"url": run.urls[hop.page][hop.hop], "status": hop.reply.status} for hop in hops
        ],
        "final_url": run.urls[last.page][last.hop],
        "content_length": None if reply.chunked and reply.size else reply.size,
    }


ALL = (response_as_scripted,)
