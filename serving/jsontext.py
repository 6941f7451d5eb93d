"""JSON text the way TensorFlow Serving reads it, quotes it in errors, and writes its numbers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from serving.errors import InvalidArgumentError

__all__ = ["float_texts", "parse", "quote"]

_DECODER = json.JSONDecoder()
_QUOTED_BYTES = 256
# The original's parser (RapidJSON) says the same in other words.
_WORDS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}


def parse(body: bytes) -> Any:
    """Parse the first JSON value of a request body; text after it is ignored.

    NaN, Infinity and Inf, each with an optional minus sign, are numbers.

    Raises:
        InvalidArgumentError: There is no such value.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from None
    start = len(text) - len(text.lstrip(" \t\r\n"))
    if start == len(text):
        raise InvalidArgumentError("JSON Parse error: The document is empty")
    try:
        try:
            return _DECODER.raw_decode(text, start)[0]
        except json.JSONDecodeError:
            if "Inf" not in text:
                raise
            return _DECODER.raw_decode(_spell_out_infinity(text), start)[0]
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"JSON Parse error: {_reason(error)}") from None
    except RecursionError:
        raise InvalidArgumentError("JSON Parse error: The document is nested too deeply") from None
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise InvalidArgumentError("JSON Parse error: Number too big to be stored in double.") from None


def _spell_out_infinity(text: str) -> str:
    # The closing quote is optional: without it each quote of an unterminated string would start a search to the end of the text.
    return re.sub(r'"(?:[^"\\]|\\.)*"?|\bInf\b', lambda match: "Infinity" if match[0] == "Inf" else match[0], text)


def _reason(error: json.JSONDecodeError) -> str:
    if error.msg == "Expecting ',' delimiter":
        where = "']' after an array element." if _innermost(error.doc[: error.pos]) == "[" else "'}' after an object member."
        return f"Missing a comma or {where} at offset: {error.pos}"
    if error.msg.startswith("Illegal trailing comma"):  # Python 3.13 points at the comma, not behind it
        return f"Invalid value. at offset: {error.pos + 1}"
    return f"{_WORDS.get(error.msg, error.msg)} at offset: {error.pos}"


def _innermost(text: str) -> str:
    """Return the last bracket of `text` that is still open."""
    opened = []
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        if token in "[{":
            opened.append(token)
        elif token in "]}":
            opened.pop()
    return opened[-1]


def quote(value: Any) -> str:
    """Write a parsed value as error messages quote it: objects over several lines, cut after 256 bytes."""
    text = ""
    for piece in _pieces(value, "\n"):
        text += piece
        if len(text) >= _QUOTED_BYTES:
            break
    return text.encode(errors="replace")[:_QUOTED_BYTES].decode(errors="ignore")


def _pieces(value: Any, newline: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for number, (key, item) in enumerate(value.items()):
            yield f"{',' if number else '{'}{newline}    {json.dumps(key, ensure_ascii=False)}: "
            yield from _pieces(item, newline + "    ")
        yield newline + "}"
    elif isinstance(value, list):
        yield "["
        for number, item in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(item, newline)
        yield "]"
    else:
        yield json.dumps(value, ensure_ascii=False)


def float_texts(values: np.ndarray) -> list[str]:
    """Write float32 numbers with 6 digits where that gives the number back, else with 9.

    Args:
        values: float32, any shape.

    Returns:
        One text per number in C order; `0.1`, `1.0`, `1e+06`, `0.333333343`, `NaN`, `-Infinity`.
    """
    flat = values.ravel()
    numbers = flat.tolist()
    joined = ("%.6g " * len(numbers)) % tuple(numbers)
    texts = joined.split()
    six_digits_suffice = np.fromstring(joined, sep=" ").astype(np.float32) == flat
    for i in np.flatnonzero(~six_digits_suffice):
        texts[i] = f"{numbers[i]:.9g}"
    for i in np.flatnonzero(flat == np.rint(flat)):
        texts[i] = _spell_whole(texts[i])
    for i in np.flatnonzero(np.isnan(flat)):
        texts[i] = "NaN"
    return texts


def _spell_whole(text: str) -> str:
    if "inf" in text:
        return text.replace("inf", "Infinity")
    return text if "e" in text else f"{text}.0"
