"""What is shown of an error."""

from actors.errors import first_line


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(OSError(" \n")) == "OSError"
