from actors.errors import escape_surrogates, first_line, last_line


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(OSError(" \n")) == "OSError"


def test_the_last_line_of_an_error() -> None:
    assert last_line(RuntimeError("frames\n  ValueError: no \n\n")) == "ValueError: no"
    assert last_line(RuntimeError("frames\nValueError: no\nsee the log"), "Error: ") == "ValueError: no"
    assert last_line(RuntimeError("frames\nsee the log"), "Error: ") == "see the log"
    assert last_line(KeyError()) == "KeyError"


def test_lone_surrogates_become_text_that_utf8_can_hold() -> None:
    assert escape_surrogates("half \ud83d, whole \U0001f600") == "half \\ud83d, whole \U0001f600"
