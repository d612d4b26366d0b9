"""Numbers as people and programs write them, where they can mean one thing only, and amounts with their unit."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,6})?")
_GROUPED = re.compile(  # thousands apart, where it can mean nothing else: "1,234" may be a decimal comma
    r"[+-]?(?:\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:,\d{3}){2,}|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"
    r"|\d{1,3}(?:[ '_]\d{3})+(?:\.\d+)?)"
)
_DECIMAL_COMMA = re.compile(
    r"[+-]?(?:\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?:[ '_]\d{3})+,\d+|0,\d+"
    r"|\d+,(?:\d{1,2}|\d{4,})|\d{4,},\d+)"
)
_ARABIC = re.compile(r"[+-]?\d{1,3}(?:٬\d{3})*(?:٫\d+)?|[+-]?\d+٫\d+")
_INFINITE = re.compile(r"[+-]?inf(?:inity)?")
_MONEY = (
    r"(?:us|ca?|au?|nz|hk|nt|s|r|mx)?\$|[€£¥₹₩₽₺₴₫฿₪₦₱₡₲₵₸₼₾¢৳円元원]|zł|kč|kr|usd|eur|gbp|jpy|cny|rmb|inr|chf|cad|aud|nzd|hkd|sgd"
    r"|twd|krw|brl|mxn|sek|nok|dkk|pln|czk|huf|ron|rub|uah|try|zar|ils|aed|sar|thb|idr|myr|php|vnd|btc|eth"
)
_AMOUNT = re.compile(
    rf"(?P<sign>[+-]?) ?(?P<before>{_MONEY}) ?(?P<inner>[+-]?)(?P<one>[\d.]\S*(?: \d{{3}}\S*)*?)"
    rf"|(?P<two>[+-]?[\d.]\S*?(?: \d{{3}}\S*?)*?) ?(?P<behind>{_MONEY}|[%‰])"
)
_SAME_UNITS = {"€": "eur", "us$": "usd", "円": "jpy", "元": "cny", "rmb": "cny", "원": "krw", "₩": "krw"}
_LONGEST_PLAIN = 60
_LONGEST_AMOUNT = 40


def read_number(text: str) -> Decimal | None:
    """Return the number that a text is, without capital letters; None if it is none, or may be two."""
    if not _NUMBER.fullmatch(text):
        if _GROUPED.fullmatch(text):
            text = re.sub("[, '_]", "", text)
        elif _DECIMAL_COMMA.fullmatch(text):
            text = re.sub("[. '_]", "", text).replace(",", ".")
        elif _ARABIC.fullmatch(text):
            text = text.replace("٬", "").replace("٫", ".")
        elif not _INFINITE.fullmatch(text):
            return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def amount_key(text: str) -> str | None:
    """Return the key of a number with its currency or percent sign, which is a part of the value; None for others."""
    if len(text) > _LONGEST_AMOUNT:
        return None
    match = _AMOUNT.fullmatch(text)
    if match is None or (match["sign"] and match["inner"]):
        return None
    unit = match["before"] or match["behind"]
    sign = (match["sign"] or match["inner"]) if match["before"] else ""
    number = read_number(f"{sign}{match['one'] or match['two']}")
    return None if number is None else f"{number_key(number)} {_SAME_UNITS.get(unit, unit)}"


def number_key(number: Decimal) -> str:
    """Return the digits without zeros that say nothing; very large and small numbers with their exponent."""
    if not number.is_finite():
        return str(number).lower().removesuffix("inity")
    if not number:
        return "0"
    exponent = number.adjusted()
    if abs(exponent) < _LONGEST_PLAIN:
        text = f"{number:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text
    sign, digits, _ = number.as_tuple()
    return f"{'-' * sign}{''.join(map(str, digits)).strip('0')}e{exponent}"
