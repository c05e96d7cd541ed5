"""What a demonstration looks like, on a terminal and elsewhere."""

import io

import pytest

from poolhand.agent.dev.narration import Narrator


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def everything(out: io.StringIO, **environ: str) -> str:
    voice = Narrator(out, environ)
    voice.step("First")
    voice.say("it begins")
    voice.good("fine")
    voice.bad("not so")
    voice.speak("One")
    voice.speak("")
    voice.speak(" two\nthree")
    voice.progress(1_000_000, 4_000_000, 2e6)
    voice.progress(1_500_000, 4_000_000, 2e6)
    voice.progress(4_000_000, 4_000_000, None)
    voice.step("Second")
    voice.table([("first", "it came", 1.234), ("a longer one", "so", 12.0)])
    return out.getvalue()


def test_elsewhere_it_is_plain_lines() -> None:
    assert everything(io.StringIO()) == (
        "> First\n"
        "  it begins\n"
        "  ok fine\n"
        "  not as expected: not so\n"
        "  | One two\n"
        "  | three\n"
        "  1.0 of 4.0 MB (25%, 2.0 MB/s)\n"
        "  4.0 of 4.0 MB (100%)\n"
        "> Second\n"
        "\n"
        "step          what happened  seconds\n"
        "------------  -------------  -------\n"
        "first         it came           1.23\n"
        "a longer one  so               12.00\n"
        "------------  -------------  -------\n"
        "all                            13.23\n"
    )


def test_a_terminal_sees_colour_and_one_moving_line() -> None:
    said = everything(Terminal())
    assert "\x1b[1;36m> First\x1b[0m" in said
    assert said.count("\r\x1b[2K") == 3
    assert "[######..................] 1.0 of 4.0 MB" in said
    assert "[########################] 4.0 of 4.0 MB (100%)\n" in said


def test_speech_and_bar_each_keep_to_a_line_of_their_own() -> None:
    out = Terminal()
    voice = Narrator(out, {"NO_COLOR": "1"})
    for _ in range(3):
        voice.progress(1, 2, None)
    voice.speak("Hello")
    voice.speak(" you")
    voice.progress(1, 2, None)
    voice.say("done")
    bar = "\r\x1b[2K  [############............] 0.0 of 0.0 MB (50%)\n"
    assert out.getvalue() == f"{bar}  | Hello you\n{bar}  done\n"


@pytest.mark.parametrize(("name", "value", "moves"), [("NO_COLOR", "1", 3), ("TERM", "dumb", 0)])
def test_colour_can_be_switched_off(name: str, value: str, moves: int) -> None:
    said = everything(Terminal(), **{name: value})
    assert "\x1b[1" not in said
    assert "\x1b[3" not in said
    assert said.count("\r") == moves


def test_an_empty_no_color_switches_nothing_off() -> None:
    assert "\x1b[1;36m" in everything(Terminal(), NO_COLOR="")


def test_each_step_has_quarters_of_its_own() -> None:
    out = io.StringIO()
    voice = Narrator(out, {})
    for _ in range(2):
        voice.step("Load")
        voice.progress(0, 0, None)
        voice.progress(1, 4, None)
        voice.progress(1, 4, None)
    assert out.getvalue().count("(25%)") == 2


def test_a_table_of_nothing_is_none() -> None:
    out = io.StringIO()
    Narrator(out, {}).table([])
    assert out.getvalue() == ""
