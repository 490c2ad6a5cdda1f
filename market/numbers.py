"""Phone numbers: one written form of each, however it was typed, and the carrier that it was issued by."""

import re
import unicodedata

import phonenumbers

from market.refusals import BadInput

CHINA = 86
LONGEST_TEXT = 60
SEPARATORS = re.compile(r"[\s().\-/]")
DIALLED = re.compile(r"\+?[0-9]{3,20}")

ISSUED_TO = {
    "CMCC": "134 135 136 137 138 139 147 148 150 151 152 157 158 159 165 172 178 182 183 184 187 188 195 197 198 "
    "1703 1705 1706",
    "CUCC": "130 131 132 145 146 155 156 166 167 171 175 176 185 186 196 1704 1707 1708 1709",
    "CTCC": "133 149 153 162 173 174 177 180 181 189 190 191 193 199 1349 1700 1701 1702",
}
"""The ranges of each carrier and its resellers, by the regulator's numbering plan; the longest match counts.

A number may have been ported since, so this tells whom to ask first, not who answers.
"""
CARRIER_OF_RANGE = {prefix: carrier for carrier, ranges in ISSUED_TO.items() for prefix in ranges.split()}


def canonical_number(text: str) -> str:
    """The E.164 form of a Chinese mobile number: what every limit, hash and lookup is made from.

    Raises:
        BadInput: it is no mobile number of mainland China, in words for the one who typed it.
    """
    number = _parsed(_plain(text))
    if number.country_code != CHINA:
        raise _refused("Only mobile numbers of mainland China can take part.")
    if phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.MOBILE:
        raise _refused("This is not a mobile number.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def issuing_carrier(msisdn: str) -> str | None:
    """The code of the carrier whose range a canonical number is in, or None when it is nobody's that we know."""
    national = msisdn.removeprefix("+86")
    return CARRIER_OF_RANGE.get(national[:4]) or CARRIER_OF_RANGE.get(national[:3])


def _plain(text: str) -> str:
    """Full-width digits made plain; invisible marks and separators dropped. Whatever else is left is refused."""
    if len(text) > LONGEST_TEXT:
        raise _refused("This is too long for a phone number.")
    seen = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    dialled = SEPARATORS.sub("", seen)
    if not DIALLED.fullmatch(dialled):
        raise _refused("Give the mobile number in digits, without an extension.")
    return dialled


def _parsed(dialled: str) -> phonenumbers.PhoneNumber:
    try:
        return phonenumbers.parse(dialled, "CN")
    except phonenumbers.NumberParseException:
        raise _refused("This is not a phone number.") from None


def _refused(words: str) -> BadInput:
    return BadInput(words, field="phone")
