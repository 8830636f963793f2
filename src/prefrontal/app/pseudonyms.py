"""People are kept under pseudonyms: a keyed hash, which nobody can turn back or compute without the key.

A plain hash of a mail address is found by trying addresses. With a key of its own each installation has its own pseudonyms, and
who holds the database alone has none of the names.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections import OrderedDict
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "user_"
DIGITS = 32
"""Hex digits of a pseudonym: 128 bits, so that two people never share one."""

KEY_BYTES = 32
KEY_FILE = "user.key"
REMEMBERED = 4096
"""Pseudonyms kept in memory (assumed: the people of some minutes)."""


class Pseudonyms:
    """Gives people their pseudonyms. `key` None: one of the file's, which is made at the first use."""

    def __init__(self, *, key: str | None, file: Path) -> None:
        self._key = key.encode() if key else None
        self._file = file
        self._known: OrderedDict[str, str] = OrderedDict()
        self._failed = False

    def of(self, person: str) -> str | None:
        """Return the pseudonym of a person; None when there is no key and none can be made."""
        known = self._known.get(person)
        if known is not None:
            return known
        key = self._key = self._key or self._from_file()
        if key is None:
            return None
        found = PREFIX + hmac.new(key, person.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]
        self._known[person] = found
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    def all_of(self, people: tuple[str, ...]) -> tuple[str, ...]:
        """Return the pseudonyms of several; without a key nobody is kept."""
        return tuple([found for found in map(self.of, people) if found is not None])

    def _from_file(self) -> bytes | None:
        """Return the key of the file, made when there is none. One that cannot be had is said once."""
        if self._failed:
            return None
        try:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                key = self._file.read_bytes().strip()
            else:
                key = secrets.token_hex(KEY_BYTES).encode()
                with os.fdopen(handle, "wb") as out:
                    out.write(key)
            if len(key) >= KEY_BYTES:
                return key
            raise OSError(0, "the key is too short")
        except OSError as error:
            self._failed = True
            log.warning("people are not kept in the records: %s: %s; set records.user_key", self._file, error.strerror)
            return None
