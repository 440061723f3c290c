"""What is known of each mail port, and of which program a process is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailports.catalogue.ports import MAIL_ROLES, PORTS, STANDARD, numbers, port_of, ports_named, service_of
from mailports.catalogue.programs import (
    PROGRAMS,
    is_mail_product,
    program_named,
    program_of,
    program_of_unit,
)

bounded = settings(max_examples=100, deadline=None)

# Ports.


def test_a_number_is_one_entry() -> None:
    """No port stands twice under one protocol, and all are in order."""
    keys = [(port.number, port.protocol) for port in PORTS]
    assert len(keys) == len(set(keys))
    assert keys == sorted(keys)
    assert all(0 < port.number < 65536 for port in PORTS)


def test_every_column_is_of_its_vocabulary() -> None:
    """A row can't say something that no rule understands."""
    companions = {"support", "discovery", "developer"}
    assert {port.protocol for port in PORTS} == {"tcp", "udp"}
    assert {port.role for port in PORTS} <= MAIL_ROLES | companions
    assert {port.tls for port in PORTS} <= {"none", "starttls", "implicit", "either"}
    assert {port.exposure for port in PORTS} <= {"public", "internal", "loopback"}
    assert {port.movable for port in PORTS} <= {"never", "last-resort", "with-references", "free"}
    assert all(port.title and port.why and port.source for port in PORTS)


def test_the_standard_ports_are_there() -> None:
    """Each is a mail port that outsiders reach, and that doesn't simply move."""
    for number in STANDARD:
        port = port_of("tcp", number)
        assert port is not None
        assert port.is_mail
        assert port.is_standard
        assert (port.exposure, port.is_common) == ("public", False)
        assert port.movable in ("never", "last-resort")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("smtp", [25]),
        ("SMTP", [25]),
        ("mail", [25]),
        ("submission", [587]),
        ("submissions", [465]),
        ("smtps", [465]),
        ("imap", [143]),
        ("imaps", [993]),
        ("pop3", [110]),
        ("pop3s", [995]),
        ("sieve", [4190]),
        ("lmtp", [24]),
        ("nonsense", []),
        ("", []),
    ],
)
def test_names_resolve(name: str, found: list[int]) -> None:
    """The name that administrators use leads to the port."""
    assert [port.number for port in ports_named(name)] == found


def test_a_services_own_name_leads_to_it() -> None:
    """What `status` prints, `why` understands: no two ports have one name, unless by protocol."""
    for port in PORTS:
        assert ports_named(port.service) == (port,)


def test_other_names_never_hide_a_service() -> None:
    """An IANA name of one row that is another's service means the other."""
    services = {port.service for port in PORTS}
    for port in PORTS:
        for name in port.names:
            assert name == name.lower()
            assert ports_named(name) if name not in services else ports_named(name)[0].service == name


def test_dns_stands_for_both_protocols() -> None:
    """It is entered once."""
    assert service_of("tcp", 53) == service_of("udp", 53) == "domain"
    assert service_of("udp", 25) is None
    assert 25 in numbers("tcp")
    assert 25 not in numbers("udp")


# Programs.


@pytest.mark.parametrize(
    ("name", "exe", "unit", "product"),
    [
        ("master", "/usr/lib/postfix/sbin/master", "postfix@-.service", "postfix"),
        ("master", "/usr/libexec/postfix/master", "postfix.service", "postfix"),
        ("smtpd", "/usr/lib/postfix/sbin/smtpd", None, "postfix"),
        ("smtpd", "/usr/sbin/smtpd", "opensmtpd.service", "opensmtpd"),
        ("master", "/usr/lib/cyrus/bin/master", "cyrus-imapd.service", "cyrus"),
        ("cyrmaster", "/usr/sbin/cyrmaster", None, "cyrus"),
        ("exim4", "/usr/sbin/exim4", "exim4.service", "exim"),
        ("exim-4.98", "/usr/exim/bin/exim-4.98", None, "exim"),
        ("sendmail-mta", "/usr/libexec/sendmail/sendmail", "sendmail.service", "sendmail"),
        ("dovecot", "/usr/sbin/dovecot", "dovecot.service", "dovecot"),
        ("imap-login", "/usr/lib/dovecot/imap-login", "dovecot.service", "dovecot"),
        ("managesieve-log", "/usr/libexec/dovecot/managesieve-login", None, "dovecot"),
        ("nginx", "/usr/sbin/nginx", "nginx.service", "nginx"),
        ("nginx", "/opt/zimbra/common/sbin/nginx", "zimbra.service", "zimbra"),
        ("docker-proxy", "/usr/bin/docker-proxy", "docker.service", "docker"),
        ("pasta.avx2", "/usr/bin/pasta.avx2", None, "podman"),
        ("rpc.statd", "/usr/sbin/rpc.statd", "rpc-statd.service", "nfs"),
        ("systemd", "/usr/lib/systemd/systemd", "init.scope", "systemd"),
        ("stalwart", "/opt/stalwart/bin/stalwart", "stalwart.service", "stalwart"),
    ],
)
def test_a_products_own_executable(name: str, exe: str, unit: str | None, product: str) -> None:
    """The executable decides."""
    program = program_of(name, exe, unit)
    assert program is not None
    assert program.product == product


@pytest.mark.parametrize(
    ("name", "exe", "unit", "product"),
    [
        ("postgrey --pidf", "/usr/bin/perl", "postgrey.service", "postgrey"),
        ("/usr/sbin/spamd", "/usr/bin/perl", None, "spamassassin"),
        ("amavisd-new (ch", "/usr/bin/perl", "amavis.service", "amavis"),
        ("java", "/usr/lib/jvm/java-17/bin/java", "james.service", "james"),
        ("node", "/usr/bin/node", "haraka.service", "haraka"),
        ("gunicorn", "/usr/bin/python3.11", "mailman3.service", "mailman"),
    ],
)
def test_scripts_are_known_by_name_or_unit(name: str, exe: str, unit: str | None, product: str) -> None:
    """An interpreter's own path says nothing, so the process's title and then the unit decide."""
    program = program_of(name, exe, unit)
    assert program is not None
    assert program.product == product


@pytest.mark.parametrize("name", ["exim4", "master", "dovecot", "docker-proxy", "rpc.statd"])
def test_without_an_executable_the_name_is_believed(name: str) -> None:
    """Where only root could read the executable, the name is what there is."""
    assert program_of(name) is not None
    assert program_of(name, None, None) == program_of(name, "")


def test_an_executable_that_was_replaced() -> None:
    """After an upgrade the old process is still the same product."""
    program = program_of("exim4", "/usr/sbin/exim4 (deleted)", None)
    assert program is not None
    assert program.product == "exim"


@pytest.mark.parametrize(
    ("name", "exe", "unit"),
    [
        ("java", "/home/dovecot/bin/java", None),
        ("server", "/home/alice/postfix/build/server", None),
        ("server", "/root/postfix/server", None),
        ("server", "/tmp/opendkim/server", None),
        ("master", "/opt/jenkins/master", None),
        ("master", "/usr/bin/python3", None),
        ("master -w", "/opt/jenkins/agent", None),
        ("smtpd test", "/opt/app/bin/app", None),
        ("lmtp", "/opt/app/bin/app", None),
        ("init", "/opt/app/bin/init", None),
        ("node", "/usr/bin/node", "wiki-js.service"),
        ("node_exporter", "/usr/bin/node_exporter", "node_exporter.service"),
        ("app", "/opt/app/app", "exim4-notifier.service"),
        ("", None, None),
        (None, None, None),
    ],
)
def test_what_is_no_product(name: str | None, exe: str | None, unit: str | None) -> None:
    """A generic name, a home directory and a unit that only begins like one prove nothing."""
    assert program_of(name, exe, unit) is None


def test_a_title_on_an_interpreter() -> None:
    """A name that means one product is believed, since scripts have no other; a generic one isn't."""
    for name, product in (("postgrey --pidf", "postgrey"), ("exim4", "exim"), ("master", None), ("smtpd", None)):
        found = program_of(name, "/usr/bin/python3", "session-3.scope")
        assert (found and found.product) == product


@pytest.mark.parametrize(
    ("unit", "product"),
    [
        ("postfix@-.service", "postfix"),
        ("postfix@second.service", "postfix"),
        ("exim4.service", "exim"),
        ("dovecot.service", "dovecot"),
        ("stunnel@mail.service", "stunnel"),
        ("clamd@amavisd.service", "clamd"),
        ("stunnel4.service", "stunnel"),
        ("exim4-base.service", None),
        ("postfixadmin.service", None),
        ("@.service", None),
        ("x@y", None),
        (None, None),
    ],
)
def test_a_units_product(unit: str | None, product: str | None) -> None:
    """An instance of a template belongs to the template's product."""
    program = program_of_unit(unit)
    assert (program.product if program else None) == product


def test_every_unit_of_the_table_is_its_own_products() -> None:
    """Each unit that a product names leads back to it; a template does by any instance."""
    for program in PROGRAMS:
        for unit in program.units:
            assert program_of_unit(unit.replace("@.", "@any.")) == program


def test_every_name_of_the_table_is_a_products() -> None:
    """Process names have at most 15 bytes, and mean one product each."""
    names = [name for program in PROGRAMS for name in program.names]
    assert len(names) == len(set(names))
    assert [name for name in names if len(name.encode()) > 15] == []
    assert len({program.product for program in PROGRAMS}) == len(PROGRAMS)


def test_mail_products_are_of_mail_kinds() -> None:
    """A proxy, an engine or a catcher for developers isn't one."""
    kinds = {p: is_mail_product(program_named(p)) for p in ("postfix", "dovecot", "rspamd", "maddy", "nginx", "docker")}
    assert kinds == {"postfix": True, "dovecot": True, "rspamd": True, "maddy": True, "nginx": False, "docker": False}
    assert program_named("nonsense") is None


@given(st.text(max_size=20), st.none() | st.text(max_size=40), st.none() | st.text(max_size=30))
@bounded
def test_any_process_has_an_answer(name: str, exe: str | None, unit: str | None) -> None:
    """A product or nothing, and the same each time."""
    assert program_of(name, exe, unit) == program_of(name, exe, unit)
    assert program_of(name, exe, unit) is None or program_of(name, exe, unit) in PROGRAMS
