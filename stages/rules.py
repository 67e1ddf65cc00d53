"""By which rules a text is an integer, a number or a date, as SQL."""

import re

from stages.databases import literal

INTEGER = r"[+-]?(0|[1-9]\d*)"
WHOLE = r"[+-]?\d+(\.0*)?"
NUMBER = r"(?i)[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)"
DATE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
DIGITS = r"[+-]?[0-9]+"
NAN = r"(?i)[+-]?nan"


def is_number(text: str, decimal: str = ".") -> bool:
    """Say whether a text is a number by the rules of a CSV file's cells."""
    return re.fullmatch(NUMBER, text.replace(decimal, ".") if "." not in text else text) is not None


def plainly_number(number: str) -> str:
    """Return whether a text that DuckDB takes for a number is one by the rule too, by its first characters.

    It is in all but few cells, and a regular expression takes ten times as long.
    """
    ranges = (("1", ":"), ("-1", "-:"), (".", "0/"), ("-0", "-0/"))  # the rest has leading zeros, or is no digits
    first = " OR ".join(f"({number} >= {literal(low)} AND {number} < {literal(high)})" for low, high in ranges)
    return f"NOT contains({number}, '_') AND ({first})"


def number_rule(cell: str, decimal: str) -> str:
    return f"{matches(with_point(cell, decimal), NUMBER)} AND NOT {matches(cell, '[+-]?0[0-9]+')}"


def matches(cell: str, pattern: str) -> str:
    return f"regexp_full_match({cell}, {literal(pattern)})"


def with_point(cell: str, decimal: str) -> str:
    """Return a number's text with a decimal point; a text that has both signs stays as it is, and is none."""
    return cell if decimal == "." else f"CASE WHEN contains({cell}, '.') THEN 'no' ELSE replace({cell}, ',', '.') END"
