"""How often strangers may try: wrong passwords by address and name, and refusals that the audit log takes."""

import ipaddress
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

_MINUTES = 5
#: Wrong passwords for one user from one address, and for all users from one address.
_OF_PAIR = RateLimitItemPerMinute(10, _MINUTES)
_OF_ADDRESS = RateLimitItemPerMinute(50, _MINUTES)
#: Entries in the audit log about strangers from one address.
_REFUSALS = RateLimitItemPerMinute(100, _MINUTES)
_REMARKS = RateLimitItemPerMinute(1, _MINUTES)


class SignInLimits:
    """Counts failures in a moving window, in this process.

    A failure counts for the name at that address: nobody can lock a user out from another address. A sign-in that
    succeeds takes no failure back: else an attacker with one account of its own could go on forever.
    """

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def seconds_to_wait(self, address: str, name: str) -> int | None:
        """Until the next try; None if one may be made now."""
        source = _source(address)
        for item, identifiers in ((_OF_PAIR, (source, name)), (_OF_ADDRESS, (source,))):
            if not self._limiter.test(item, *identifiers):
                reset = self._limiter.get_window_stats(item, *identifiers).reset_time
                return max(1, round(reset - time.time()))
        return None

    def count_failure(self, address: str, name: str) -> None:
        """One more wrong password."""
        source = _source(address)
        self._limiter.hit(_OF_PAIR, source, name)
        self._limiter.hit(_OF_ADDRESS, source)


class RefusalLimit:
    """Whether the audit log takes one more refusal of a stranger: else a loop of requests could fill the disk."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def takes(self, address: str) -> bool:
        """Whether this one is written down."""
        return self._limiter.hit(_REFUSALS, _source(address))

    def takes_remark(self, address: str) -> bool:
        """Whether it is written down that no more are."""
        return self._limiter.hit(_REMARKS, _source(address), "remark")


def _source(address: str) -> str:
    """Whom an address stands for: one host has a whole /64 of IPv6 addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
