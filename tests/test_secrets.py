"""No output shows a secret: of the list, of a query, of an argument, of the environment."""

from pathlib import Path

import pytest
from loopback import Server, redirect
from shell import (
    Ended,
    complaint,
    crawl,
    environment,
    on_terminal,
    plain,
    records,
    write,
)

SECRET = "hunter2"


def leaks(ended: Ended, *files: Path) -> list[str]:
    """Return the lines of all outputs that contain the secret."""
    shown = [ended.stdout, ended.stderr, *(path.read_text("utf-8") for path in files)]
    assert any(shown)
    return [line for text in shown for line in text.splitlines() if SECRET in line]


@pytest.mark.parametrize("form", [[], ["--jsonl"]], ids=["table", "jsonl"])
def test_no_secret_of_a_list_is_shown(site: Server, tmp_path: Path, form: list[str]) -> None:
    address = site.origin.partition("//")[2]
    lines = [
        f"http://user:{SECRET}@{address}/ok",
        f"http://{SECRET}@{address}/gone",
        f"http://user:p@ss:{SECRET}@{address}/ok",
        f"http://user:{SECRET}@127.0.0.1:1/",
        f"http://user:{SECRET}@127.0.0.1:99999/",
        f"http://user:{SECRET} x@127.0.0.1/",
        f"ftp://user:{SECRET}@127.0.0.1/",
        f"user:{SECRET}@127.0.0.1",
        site.on("/leads-on", redirect(f"http://user:{SECRET}@{address}/gone")),
        site.on("/leads-astray", redirect(f"ftp://user:{SECRET}@127.0.0.1/")),
    ]
    listed = write(tmp_path / "urls.txt", *lines)
    files = tmp_path / "out.json", tmp_path / "out.jsonl"
    ended = crawl(listed, *form, "-o", files[0], "-o", files[1])
    assert len(records(files[1].read_text("utf-8"))) == len(lines)
    assert leaks(ended, *files) == []


@pytest.mark.parametrize(
    "form",
    [[], ["--all"], ["--json"], ["--jsonl"], ["--jsonl", "-v", "--wait", "1"]],
    ids=["table", "all", "json", "jsonl", "wait"],
)
def test_no_secret_of_a_query_is_shown(site: Server, tmp_path: Path, form: list[str]) -> None:
    secrets = f"access_token={SECRET}&X-Amz-Signature={SECRET}&Mine={SECRET}#code={SECRET}"
    site.on("/loop", redirect(f"/loop?{secrets}"))
    site.on("/astray", redirect(f"ftp://127.0.0.1/?{secrets} {SECRET}"))
    site.on("/onward", redirect(f"/gone?{secrets}"))
    lines = [
        f"{site.origin}/ok?{secrets}",
        f"{site.origin}/gone?{secrets}",
        f"{site.origin}/loop?{secrets}",
        site.url("/astray"),
        site.url("/onward"),
        f"http://127.0.0.1:1/?{secrets}",
        f"http://127.0.0.1:99999/?{secrets} {SECRET}",
        f"ftp://127.0.0.1/?{secrets}",
    ]
    listed = write(tmp_path / "urls.txt", *lines)
    files = [tmp_path / "out.json", tmp_path / "out.jsonl"]
    options: list[str | Path] = ["--mask", "mine", "--retries", "0", "-o", files[0], "-o", files[1]]
    ended = crawl(listed, *form, *options, "--failed-to", tmp_path / "again.txt")
    again = (tmp_path / "again.txt").read_text("utf-8")

    assert len(records(files[1].read_text("utf-8"))) == len(lines)
    assert leaks(ended, *files) == []
    assert [line for line in again.splitlines() if SECRET in line and line.startswith("#")] == []
    assert f"\n{lines[1]}\n" in again


def test_progress_on_a_terminal_shows_no_secret_of_a_query(site: Server) -> None:
    ended = on_terminal(f"{site.origin}/gone?token={SECRET}", "--wait", "1")
    assert "token=***" in plain(ended.stdout)
    assert leaks(ended) == []


@pytest.mark.parametrize("name", ["", "a b", "a=b", "?token", "a&b", "_-"])
def test_an_invalid_parameter_name_is_a_usage_error(name: str) -> None:
    ended = crawl("http://127.0.0.1:1/", "--mask", name)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is not the name of a query parameter" in complaint(ended)


@pytest.mark.parametrize(
    "args",
    [
        ["{origin}/gone", "-H", f"Authorization: Bearer {SECRET}"],
        ["{origin}/ok", "-H", f"X-Key: {SECRET}\n"],
        ["{origin}/ok", "-H", f"Bearer {SECRET}"],
        ["{origin}/ok", "-H", f"Authorization Bearer: {SECRET}"],
        [f"http://user:{SECRET}@{{address}}/ok"],
        [f"file://user:{SECRET}@{{address}}/ok"],
        [f"user:{SECRET}@{{address}}/ok.txt"],
        [f"{{address}}/ok.txt?token={SECRET}"],
        [f"{{address}}/ok.txt?mine=a {SECRET}", "--mask", "mine"],
        [f"file://{{address}}/ok?token={SECRET}"],
        ["{origin}/ok", "--proxy", f"http://user:{SECRET}@127.0.0.1:1"],
        ["{origin}/ok", "--proxy", f"ftp://user:{SECRET}@127.0.0.1:1"],
        ["{origin}/ok", "--proxy", f"user:{SECRET}@127.0.0.1:x"],
    ],
)
def test_no_secret_of_an_argument_is_shown(site: Server, tmp_path: Path, args: list[str]) -> None:
    address = site.origin.partition("//")[2]
    given = [arg.format(origin=site.origin, address=address) for arg in args]
    ended = crawl(*given, "-o", tmp_path / "out.json")
    assert leaks(ended, *tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:1"),
        ("HTTP_PROXY", f"user:{SECRET}@127.0.0.1:1"),
        ("HTTP_PROXY", f"ftp://user:{SECRET}@127.0.0.1:1"),
        ("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:x"),
        ("HTTP_PROXY", f"user:{SECRET}@127.0.0.1:x"),
        ("HTTP_PROXY", f"user:{SECRET}@"),
    ],
)
def test_no_secret_of_the_environment_is_shown(site: Server, variable: str, value: str) -> None:
    ended = crawl(site.url("/ok"), "--jsonl", env=environment(**{variable: value}))
    assert variable in complaint(ended)
    assert leaks(ended) == []
