"""`would_bind` and `would_listen` held against the kernel, on real sockets in a network namespace of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import bind_trials as trials
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.kernel

T = TypeVar("T")
PRIVILEGED = {"net.ipv4.ip_unprivileged_port_start": "1024"}


class Ledger:
    """What all the trials of this process came to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rows = self.listens = self.unsure = self.admitted = 0

    def add(self, tally: trials.Tally) -> None:
        """Count a trial."""
        self.rows += tally.rows
        self.listens += tally.listens
        self.unsure += tally.unsure
        self.admitted += tally.admitted


@pytest.fixture(scope="module")
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """Print what was tried, when all is done, whatever is captured."""
    kept = Ledger()
    yield kept
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print(
            f"\nbind rules: {kept.rows} binds and {kept.listens} listens tried; what sock_diag hides decides "
            f"{kept.unsure}; {kept.admitted} let in by the mark of a changed SO_REUSEPORT socket"
        )
        for line in kept.lines:
            print(f"bind rules: {line}")


def within(work: Callable[[], T]) -> T:
    """Do it in a namespace of its own, or skip with the reason."""
    try:
        return trials.in_namespace(work)
    except trials.Unavailable as reason:
        pytest.skip(str(reason))


def assert_none_wrong(tally: trials.Tally) -> None:
    assert not tally.wrong, "\n".join([f"{len(tally.wrong)} of {tally.rows}", *tally.wrong[:10]])


@pytest.mark.parametrize("way", trials.TCP_WAYS)
def test_tcp_newcomers_beside_a_socket_in_every_state(way: str, ledger: Ledger) -> None:
    """Told all, the verdict is the kernel's answer; told less, it is never certain and wrong."""
    tally = within(partial(trials.try_all, "tcp", trials.TCP_WAYS[way]))
    ledger.add(tally)
    assert_none_wrong(tally)
    assert tally.rows > 1000
    assert tally.admitted == 0


@pytest.mark.parametrize("way", trials.UDP_WAYS)
def test_udp_newcomers_beside_a_socket_in_every_state(way: str, ledger: Ledger) -> None:
    """The same for UDP, which doesn't listen and lets SO_REUSEADDR share."""
    tally = within(partial(trials.try_all, "udp", trials.UDP_WAYS[way]))
    ledger.add(tally)
    assert_none_wrong(tally)
    assert tally.rows > 1000
    assert tally.admitted == 0


@pytest.mark.parametrize("way", trials.MARKING_WAYS)
def test_a_mark_of_reuseport_outlives_the_change(way: str, ledger: Ledger) -> None:
    """TCP lets in by SO_REUSEPORT and uid as they were at bind: the one way to be let in against the verdict."""
    tally = within(partial(trials.try_all, "tcp", trials.MARKING_WAYS[way]))
    ledger.add(tally)
    assert_none_wrong(tally)
    assert tally.admitted > 0


def test_the_second_listen(ledger: Ledger) -> None:
    """Of two bound sockets the first to listen wins; the other is refused exactly when the verdict says so."""
    tally = within(trials.try_second_listen)
    ledger.add(tally)
    assert_none_wrong(tally)


@pytest.mark.parametrize(
    ("sysctls", "is_root"),
    [
        (PRIVILEGED, True),
        (PRIVILEGED, False),
        ({"net.ipv4.ip_unprivileged_port_start": "25"}, False),
        ({**PRIVILEGED, "net.ipv6.bindv6only": "1"}, True),
        ({**PRIVILEGED, "net.ipv4.ip_nonlocal_bind": "1"}, False),
        ({**PRIVILEGED, "net.ipv6.ip_nonlocal_bind": "1"}, False),
    ],
)
def test_arguments_addresses_and_privilege(sysctls: dict[str, str], is_root: bool, ledger: Ledger) -> None:
    """Before the port counts, each refusal has the kernel's errno, in the kernel's order for that family."""
    tally = within(partial(trials.try_arguments, sysctls, is_root=is_root))
    ledger.add(tally)
    assert_none_wrong(tally)


def test_a_tentative_address_is_absent() -> None:
    """An IPv6 address that the kernel still checks for duplicates can't be bound: the failure at boot."""
    was_tentative, said, told = within(trials.try_tentative)
    if not was_tentative:
        pytest.skip("duplicate address detection was done before it could be seen")
    assert (said, told) == ("EADDRNOTAVAIL", "EADDRNOTAVAIL")


options = st.builds(
    trials.Options,
    st.booleans(),
    st.booleans(),
    st.sampled_from(trials.DEVICES),
    st.sampled_from((0, trials.OTHER_UID)),
)
steps = st.builds(
    trials.Step,
    st.sampled_from(("open", "open", "open", "listen", "listen", "close", "reuseaddr", "reuseport")),
    st.integers(0, 5),
    st.sampled_from(trials.FORMS),
    options,
    st.booleans(),
)


def play_many(protocol: str) -> trials.Crowd:
    """Let hypothesis put sockets side by side; the first difference is shrunk and raised."""
    if len(trials.uids()) == 1:
        raise trials.Unavailable("one user id only in this user namespace")
    crowd = trials.Crowd(protocol)

    @settings(
        max_examples=2000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(steps, min_size=4, max_size=30))
    def many(story: list[trials.Step]) -> None:
        crowd.play(story)

    many()
    return crowd


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_many_sockets_at_one_port(protocol: str, ledger: Ledger) -> None:
    """The rule for two sockets holds for many, but that the kernel's SO_REUSEPORT shortcuts let more in."""
    asked, seen, left = within(lambda: _counts(play_many(protocol)))
    ledger.lines.append(
        f"{asked} {protocol} calls beside many sockets: {seen} let in by a SO_REUSEPORT socket that is there "
        f"(verdict: unknown), {left} by the mark of one that was closed or changed (verdict: no)"
    )
    assert asked > 1000
    assert protocol == "tcp" or left == 0


def _counts(crowd: trials.Crowd) -> tuple[int, int, int]:
    return crowd.asked, crowd.seen, crowd.left
