"""What of a URL may leave the process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit._calls.redaction import redact_query, redact_text, redact_url


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "access_token",
        "ACCESS_TOKEN",
        "sig",
        "Signature",
        "X-Amz-Signature",
        "x-amz-security-token",
        "X-Goog-Credential",
        "AWSAccessKeyId",
        "api_key",
        "apiKey",
        "api-key",
        "client_secret",
        "password",
        "passwd",
        "code",
        "sessionid",
        "%74oken",
        "authorization",
    ],
)
def test_secret_parameters_lose_their_values(name):
    """A parameter that is a secret by its name, in any case or encoding, loses its value."""
    assert redact_query(f"a=1&{name}=s3cret&b=2") == f"a=1&{name}=REDACTED&b=2"


@pytest.mark.parametrize(
    "query",
    ["", "q=flask", "author=me&page=2", "a=1;b=2", "flag", "a=&b", "x=%20&y=+", "tokenless"],
)
def test_other_queries_stay_as_they_are(query):
    """What is no secret is exported letter by letter."""
    assert redact_query(query) == query


@pytest.mark.parametrize(
    "value",
    [
        "https%3A%2F%2Fuser%3As3cret%40host%2F",
        "https%3A%2F%2Fhost%2F%3Ftoken%3Ds3cret",
        "https%253A%252F%252Fhost%252F%253Ftoken%253Ds3cret",
        "/login?token=s3cret",
    ],
)
def test_urls_inside_of_values_hide_nothing(value):
    """A redirect target with a secret in it is replaced whole, however often it was encoded."""
    assert redact_query(f"next={value}") == "next=REDACTED"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/p?q=1", "http://h/p?q=1"),
        ("http://u:p@h:80/p", "http://REDACTED:REDACTED@h:80/p"),
        ("http://token@h/", "http://REDACTED@h/"),
        ("http://u:p@x@h/a@b", "http://REDACTED:REDACTED@h/a@b"),
        ("http://h/@me?sig=1#access_token=2", "http://h/@me?sig=REDACTED#access_token=REDACTED"),
        ("/only/a/path?token=1", "/only/a/path?token=REDACTED"),
    ],
)
def test_urls_lose_user_info_and_secrets(url, expected):
    """User info, query and fragment are cleaned; the rest of the URL is exact."""
    assert redact_url(url) == expected


def test_urls_in_error_messages_are_redacted():
    """What urllib3 says about a failed request can be exported."""
    said = (
        "HTTPConnectionPool(host='h', port=1): Max retries exceeded with url: /x?token=abc&b=1 (C"
    )
    assert redact_text(said) == said.replace("abc", "REDACTED")
    assert redact_text("see http://u:p@h/x") == "see http://REDACTED@h/x"
    assert redact_text("a = b @ c") == "a = b @ c"


SECRET = "S3CR3T"


@given(st.text(max_size=60), st.text(alphabet="&;?#%=ab", max_size=20), st.text(max_size=20))
def test_a_secret_never_survives(before, between, after):
    """Whatever surrounds it, the value of a ``token`` parameter is gone, and nothing raises."""
    url = f"http://host/{before.replace('?', '').replace('#', '')}?{between}&token={SECRET}&{after}"
    assert SECRET not in redact_url(url)


# Halves of names of secrets, so that whole ones come together, and an s and a k that only letter
# case makes of other letters.
HALVES = """
    to ken se cret pas s wd sig nature sign api _ - key KEY priv ate au th or ses sion j wt as
    sertion tic ket x-amz- x-goog- x-oss- hm ac co de p in o tp s id aws access \u017f \u212a
"""


@given(st.lists(st.sampled_from([*HALVES.split(), *"=&;? +%@/aZ1"]), max_size=12).map("".join))
def test_the_quick_look_overlooks_nothing(query):
    """A query is redacted as it is beside something that is to be looked at closely."""
    assert redact_query(f"%&{query}") == f"%&{redact_query(query)}"
