"""Nothing that is a secret, by value, by name or by shape, is left in a text."""

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.cli.redaction import GONE, SHORTEST, redacted, secrets_of

CANARY = "Kanarie7vogel"


@pytest.mark.parametrize(
    "text",
    [
        f'token = "{CANARY}"',
        f"api_key={CANARY}",
        f'  "secret_access_key": "{CANARY}",',
        f"AWS_SECRET_ACCESS_KEY: {CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"https://me:{CANARY}@host/x",
        f"https://h/x?X-Amz-Signature={CANARY}&a=1",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY} and no end",
        f"hf_{CANARY}{CANARY}",
        f"sk-{CANARY}{CANARY}",
        f"nvapi-{CANARY}{CANARY}",
        f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}",
    ],
)
def test_shapes_of_secrets_go(text: str) -> None:
    said = redacted(text)
    assert CANARY not in said
    assert GONE in said


@pytest.mark.parametrize(
    "text",
    [
        'token_file = "token"',
        'token_env = "MY_TOKEN"',
        "context_tokens = 4096",
        '"tokens_generated": 900,',
        "poolhand_completion_tokens_total 7",
        'weight_hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        "https://host/path?list-type=2",
        'ref = "s3://models/tiny-a"',
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redacted(text) == text


@given(st.text(min_size=SHORTEST, max_size=30), st.text(max_size=60), st.text(max_size=60))
@knobs(max_examples=150, deadline=None)
def test_law_a_known_secret_is_nowhere(secret: str, before: str, after: str) -> None:
    clean = secret.replace("\0", "x")
    said = redacted(before + clean + after, [clean])
    around = (before + after).replace(clean, "")
    assert clean not in said or clean in GONE + around


def test_the_home_folder_is_a_tilde() -> None:
    assert redacted("/home/me/x and /home/me", home="/home/me") == "~/x and ~"
    assert redacted("/x", home="/") == "/x"


def test_variables_by_their_names() -> None:
    environ = {"POOLHAND_TOKEN": "a", "AWS_SECRET_ACCESS_KEY": "b", "PATH": "c", "HF_TOKEN": ""}
    assert secrets_of(environ) == {"a", "b"}
