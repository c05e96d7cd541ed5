"""What one step of a chat template may make of little, in the sandbox that the library makes."""

# pyright: reportUnknownMemberType=false
# The library has no types.

import pytest
from jinja2.exceptions import SecurityError
from transformers.utils import chat_template_utils

from poolhand.backends.engines import mlx_template

pytestmark = pytest.mark.engine

MESSAGES = [{"role": "user", "content": "Hi\n{there} 100%"}]


@pytest.fixture(autouse=True)
def installed() -> None:
    mlx_template.install()


def rendered(text: str) -> str:
    """A chat as the library renders it."""
    chats = [MESSAGES]
    made, _ = chat_template_utils.render_jinja_template(conversations=chats, chat_template=text)
    (only,) = made
    return str(only)


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1.5|round(1000000000, 'ceil') }}",
        "{% set n = 1000 * 1000 %}{{ 15|round(n * 1000, method='floor') }}",
        "{{ '%0*d' % (2000000000, 1) }}",
        "{{ '%02000000000d' % 1 }}",
        "{{ '%(a).2000000000f' % {'a': 1} }}",
        "{{ '%2000000000d'|format(1) }}",
        "{{ '{:02000000000d}'.format(1) }}",
        "{{ '{:{w}d}'.format(1, w=2000000000) }}",
        "{{ '{a:>2000000000}'.format_map({'a': 1}) }}",
        "{% set n = namespace(x=9) %}{% for _ in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% set n = 9 %}{{ n ** (n ** n) }}",
        "{{ 'x' * 2000000000 }}",
        "{{ 2000000000 * 'x' }}",
        "{{ [0] * 2000000000 }}",
        "{{ 'x'|center(2000000000) }}",
        "{{ 'x'.center(2000000000) }}",
        "{{ 'x'.ljust(2000000000) }}",
        "{{ 'x'.zfill(2000000000) }}",
        "{{ '\t'.expandtabs(2000000000) }}",
        "{{ (5).to_bytes(2000000000, 'big') }}",
        "{{ 'x'|indent(2000000000, true) }}",
        "{{ [1]|tojson(indent=2000000000) }}",
        "{{ [1]|batch(2000000000, 0)|list }}",
        "{{ [1]|slice(2000000000)|list }}",
        "{% set a = 'a' * 100000 %}{{ a|replace('a', a) }}",
        "{% set a = 'a' * 100000 %}{{ a.replace('', a) }}",
        "{% set a = 'a' * 100000 %}{{ a.join(a) }}",
        "{% set a = 'a' * 100000 %}{{ range(100000)|list|join(a) }}",
        "{% set a = 'a' * 100000 %}{{ a.translate({97: a}) }}",
        "{% set a = ('a' * 100000).encode() %}{{ a.replace(a, a) }}",
        "{{ ['a'|center(99999)]|map('center', 2000000000)|list }}",
    ],
)
def test_what_would_make_much_out_of_little_is_refused(text: str) -> None:
    with pytest.raises(SecurityError, match="a single step"):
        rendered(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}",
         "<user>Hi\n{there} 100%"),
        ("{{ messages|tojson(indent=1)|length > 9 }}", "True"),
        ("{{ '**%s** %d %5.2f' % ('a', 1700000000, 2.5) }}", "**a** 1700000000  2.50"),
        ("{{ '%s of %d'|format('a', 1700000000) }}", "a of 1700000000"),
        ("{{ 'Day: {} {:>4} {x:02d}'.format(1700000000, 'b', x=3) }}", "Day: 1700000000    b 03"),
        ("{{ '{{\"a\": {}}}'.format(12345678) }}", '{"a": 12345678}'),
        ("{{ 'a b'.split(' ')|join(', ') }}{{ ' x '.strip()|trim|upper }}", "a, bX"),
        ("{{ 'a\nb'|indent(2) }}{{ 'a-b'|replace('-', '+') }}{{ 'ab'.replace('a', '') }}",
         "a\n  ba+bb"),
        ("{{ 3 * 4 + 2 ** 5 - 7 % 4 }}{{ '-' * 3 }}{{ ([1] + [2]) * 2 }}", "41---[1, 2, 1, 2]"),
        ("{{ none_such|default(1700000000) }}{{ 1.25|round(1) }}{{ 7|string }}", "17000000001.27"),
        ("{{ [3, 1]|sort|first }}{{ 'é'.encode().hex() }}{{ dict(a=1)|items|list }}",
         "1c3a9[('a', 1)]"),
        ("{{ [1, 2, 3]|batch(2, 0)|list }}{{ 'b'.ljust(3) }}|", "[[1, 2], [3, 0]]b  |"),
    ],
)  # fmt: skip
def test_what_templates_do_is_done(text: str, expected: str) -> None:
    assert rendered(text) == expected
