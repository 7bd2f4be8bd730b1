"""Environment files: what is written is what systemd reads back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.envfile import EnvFileError, parse, quote, render

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
# Blanks and quoting characters far more often than chance would have it.
VALUES = st.text(
    st.one_of(
        st.sampled_from("\\\"'`$#;=% \tabz09"),
        st.characters(codec="utf-8", exclude_categories=("Cc",)),
    ),
    max_size=60,
)


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_what_is_rendered_is_read_back(variables: dict[str, str]) -> None:
    assert parse(render(variables, "a comment\nof two lines")) == variables


@given(VALUES)
def test_a_value_takes_one_line(value: str) -> None:
    assert len(render({"NAME": value}).split("\n")) == 2


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        names = set(parse(text))
    except EnvFileError:
        names = set()
    assert all("=" not in name for name in names)


@pytest.mark.parametrize("value", ["false", "true", "0.5", "BTCUSDT,ETHUSDT", "a=b", "1%"])
def test_plain_values_stay_unquoted(value: str) -> None:
    assert quote(value) == value


@pytest.mark.parametrize("bad", ["\n", "\r", "\0", "\x1b", "\x7f", "\ud800"])
def test_a_character_that_no_value_needs_is_refused_without_showing_the_value(bad: str) -> None:
    with pytest.raises(EnvFileError, match="API_SECRET") as refusal:
        render({"API_SECRET": f"s3cret{bad}value"})
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "1A", "A B", "A-B", "A\n", "Ä", "A=B"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(EnvFileError):
        render({name: "value"})


# Each pair was compared with the environment that systemd 252 and 257 gave to a unit.
AS_SYSTEMD_READS = [
    ("A=plain", "plain"),
    ("A=", ""),
    ("A=''", ""),
    ("  A = b  c \t", "b  c"),
    ("A='single $x \\ \"q\"'", 'single $x \\ "q"'),
    ('A="d \\" \\\\ \\$ \\` \\n"', 'd " \\ $ ` \\n'),
    ("A=\"x\" 'y'  z ", "xyz"),
    ('A=un"quoted"', 'un"quoted"'),
    ("A=back\\slash", "backslash"),
    ("A=back\\\\slash", "back\\slash"),
    ("A=trailing\\  ", "trailing "),
    ("A=one\\\ntwo", "onetwo"),
    ('A="one\\\ntwo"', "onetwo"),
    ("A=has # no comment", "has # no comment"),
    ("A=first\nA=last", "last"),
    ("A=$HOME ${X} %n", "$HOME ${X} %n"),
    ("A=carriage\r\n", "carriage"),
    ("#B=1\n; C=2\nA=x", "x"),
]


@pytest.mark.parametrize(("text", "expected"), AS_SYSTEMD_READS)
def test_reads_as_systemd_does(text: str, expected: str) -> None:
    assert parse(text) == {"A": expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nexport B=2", "line 2: what stands before the ="),
        ("A=1\n\nsome words\n", "line 3: neither NAME=value nor a comment"),
        ("A=1\nB='open", "line 2: B has a quote that is never closed"),
        ("A=x\x1by", "line 1: A contains a control character"),
        ("A=1\n# a comment \\\nB=2", "line 2: a comment must not end with a backslash"),
    ],
)
def test_what_systemd_would_drop_or_guess_at_is_refused_with_its_line(
    text: str, message: str
) -> None:
    with pytest.raises(EnvFileError) as refusal:
        parse(text)
    assert message in str(refusal.value)
