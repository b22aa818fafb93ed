"""Which texts are HTTP methods."""

import pytest

from crawler.core import semantics


@pytest.mark.parametrize(
    ("text", "method"),
    [("GET", "GET"), ("head", "HEAD"), ("Post", "POST"), ("M-SEARCH", "M-SEARCH")],
)
def test_a_method_is_a_token(text: str, method: str) -> None:
    assert semantics.parse_method(text) == method


@pytest.mark.parametrize(
    "text",
    ["", " ", "GE T", "GET ", "GET\r\nX: y", "GET\n", "GÉT", "a/b", "a:b", "CONNECT", "connect"],
)
def test_text_that_is_not_an_http_method_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an HTTP method"):
        semantics.parse_method(text)
