"""Which product a process is, from its name, its executable and its unit.

A process name alone is often generic: `master` is Postfix's or Cyrus's, `node` is nothing at all. The
executable's path decides where it could be read; else the name, and then only names that mean one product.

Source: the file lists of the Debian packages of each product; `ps` on hosts that run them.
"""

from __future__ import annotations

from mailports.record import Record


class Program(Record):
    """A product as its processes show it.

    Attributes:
        product: its name in this project.
        kind: `mta`, `access`, `filter`, `suite` (a whole mail system), `proxy`, `engine` (containers), `rpc`,
            `resolver`, `support`, `developer`, `init`.
        names: process names (`comm`, at most 15 bytes) that mean this product.
        paths: parts of an executable's path that mean it.
        units: its systemd units, as Debian, Fedora or upstream name them.
        adopts: whether its service takes listeners from a socket unit; None where that depends on its configuration.
    """

    product: str
    kind: str
    names: tuple[str, ...]
    paths: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    adopts: bool | None = False


MAIL_KINDS = frozenset(("mta", "access", "filter", "suite"))
"""Kinds whose programs are mail products."""

PROGRAMS: tuple[Program, ...] = (
    Program(
        "postfix",
        "mta",
        ("master", "smtpd", "postscreen", "qmqpd", "postfix"),
        ("/postfix/",),
        ("postfix.service", "postfix@-.service"),
    ),
    Program("exim", "mta", ("exim4", "exim"), ("/exim4", "/exim"), ("exim4.service", "exim.service")),
    Program(
        "sendmail",
        "mta",
        ("sendmail", "sendmail-mta", "sendmail-msp"),
        ("/sendmail-mta", "/sendmail.sendmail", "/libexec/sm-mta"),
        ("sendmail.service", "sm-client.service"),
    ),
    Program("opensmtpd", "mta", ("smtpd-opensmtpd",), ("/opensmtpd/", "/sbin/smtpd"), ("opensmtpd.service",)),
    Program("courier", "suite", ("couriertcpd", "courieresmtpd"), ("/courier",), ("courier-imap.service",)),
    Program("qmail", "mta", ("qmail-smtpd", "tcpserver", "qmail-send"), ("/qmail/",)),
    Program("haraka", "mta", ("haraka",), ("/haraka",), ("haraka.service",)),
    Program("maddy", "suite", ("maddy",), ("/maddy",), ("maddy.service",)),
    Program("stalwart", "suite", ("stalwart", "stalwart-mail"), ("/stalwart",), ("stalwart.service",)),
    Program("james", "suite", (), ("/james",), ("james.service",)),
    Program("nullmailer", "mta", ("nullmailer-send",), ("/nullmailer",), ("nullmailer.service",)),
    Program("msmtpd", "mta", ("msmtpd",), ("/msmtpd",), ("msmtpd.service",)),
    Program("dma", "mta", ("dma",)),
    Program("esmtpd", "mta", ("esmtpd",)),
    Program(
        "dovecot",
        "access",
        (
            "dovecot",
            "imap-login",
            "pop3-login",
            "managesieve-login"[:15],
            "submission-login"[:15],
            "lmtp",
            "anvil",
        ),
        ("/dovecot",),
        ("dovecot.service",),
        adopts=True,
    ),
    Program("cyrus", "suite", ("cyrmaster", "cyrus-master"), ("/cyrus", "/sbin/cyrmaster"), ("cyrus-imapd.service",)),
    Program("popa3d", "access", ("popa3d",)),
    Program("qpopper", "access", ("in.qpopper", "popper")),
    Program("rspamd", "filter", ("rspamd",), ("/rspamd",), ("rspamd.service",)),
    Program("opendkim", "filter", ("opendkim",), ("/opendkim",), ("opendkim.service",)),
    Program("opendmarc", "filter", ("opendmarc",), ("/opendmarc",), ("opendmarc.service",)),
    Program("dkimpy-milter", "filter", ("dkimpy-milter",), (), ("dkimpy-milter.service",)),
    Program("amavis", "filter", ("amavisd-new", "amavisd"), ("/amavis",), ("amavis.service",)),
    Program("spamassassin", "filter", ("spamd",), ("/spamd",), ("spamd.service", "spamassassin.service")),
    Program("clamd", "filter", ("clamd",), ("/clamd",), ("clamav-daemon.service", "clamd@.service"), adopts=None),
    Program("clamav-milter", "filter", ("clamav-milter",), ("/clamav-milter",), ("clamav-milter.service",)),
    Program("spamass-milter", "filter", ("spamass-milter",), ("/spamass-milter",), ("spamass-milter.service",)),
    Program("milter-greylist", "filter", ("milter-greylist",), ("/milter-greylist",), ("milter-greylist.service",)),
    Program("postgrey", "filter", ("postgrey",), ("/postgrey",), ("postgrey.service",)),
    Program("sqlgrey", "filter", ("sqlgrey",), ("/sqlgrey",), ("sqlgrey.service",)),
    Program("policyd-weight", "filter", ("policyd-weight",), (), ("policyd-weight.service",)),
    Program("cluebringer", "filter", ("cbpolicyd",), (), ("postfix-cluebringer.service",)),
    Program("iredapd", "filter", ("iredapd",), (), ("iredapd.service",)),
    Program("postsrsd", "filter", ("postsrsd",), ("/postsrsd",), ("postsrsd.service",)),
    Program("mta-sts-resolver", "filter", ("mta-sts-daemon",), (), ("postfix-mta-sts-resolver.service",)),
    Program("mailman", "suite", ("mailman",), ("/mailman",), ("mailman3.service",)),
    Program("zimbra", "suite", ("zmmailboxd", "zmstat"), ("/opt/zimbra/",), ("zimbra.service",)),
    Program("protonmail-bridge", "developer", ("proton-bridge", "protonmail-brid"), (), ()),
    Program("mailpit", "developer", ("mailpit",), ("/mailpit",), ("mailpit.service",)),
    Program("mailhog", "developer", ("MailHog", "mailhog"), ("/MailHog", "/mailhog"), ("mailhog.service",)),
    Program("mailcatcher", "developer", ("mailcatcher",)),
    Program("inbucket", "developer", ("inbucket",), ("/inbucket",), ("inbucket.service",)),
    Program("haproxy", "proxy", ("haproxy",), ("/haproxy",), ("haproxy.service",)),
    Program("nginx", "proxy", ("nginx",), ("/nginx",), ("nginx.service",), adopts=None),
    Program("stunnel", "proxy", ("stunnel4", "stunnel"), ("/stunnel",), ("stunnel4.service", "stunnel@.service")),
    Program("traefik", "proxy", ("traefik",), ("/traefik",), ("traefik.service",), adopts=None),
    Program("envoy", "proxy", ("envoy",), ("/envoy",), ()),
    Program("caddy", "proxy", ("caddy",), ("/caddy",), ("caddy.service",), adopts=None),
    Program("perdition", "proxy", ("perdition",), ("/perdition",), ("perdition.service",)),
    Program("xinetd", "proxy", ("xinetd",), ("/xinetd",), ("xinetd.service",)),
    Program("inetd", "proxy", ("inetd", "openbsd-inetd"), ("/inetd",), ("inetd.service", "openbsd-inetd.service")),
    Program("docker", "engine", ("docker-proxy", "dockerd"), ("/docker-proxy", "/dockerd"), ("docker.service",)),
    Program(
        "podman",
        "engine",
        ("conmon", "pasta", "pasta.avx2", "passt", "rootlessport", "rootlessport-c", "slirp4netns"),
        ("/conmon", "/pasta", "/rootlessport", "/slirp4netns", "/podman"),
    ),
    Program("containerd", "engine", ("containerd", "containerd-shim"), ("/containerd",), ("containerd.service",)),
    Program("nfs", "rpc", ("rpc.statd", "rpc.mountd", "rpc.nfsd", "rpc.rquotad", "rpc.gssd"), ("/rpc.",), ()),
    Program("rpcbind", "rpc", ("rpcbind", "portmap"), ("/rpcbind",), ("rpcbind.service",), adopts=True),
    Program("nis", "rpc", ("ypbind", "ypserv", "yppasswdd", "rpc.ypxfrd"), ("/ypbind", "/ypserv"), ()),
    Program(
        "systemd-resolved", "resolver", ("systemd-resolve",), ("/systemd-resolved",), ("systemd-resolved.service",)
    ),
    Program("unbound", "resolver", ("unbound",), ("/unbound",), ("unbound.service",)),
    Program("bind", "resolver", ("named",), ("/named",), ("named.service",)),
    Program("dnsmasq", "resolver", ("dnsmasq",), ("/dnsmasq",), ("dnsmasq.service",)),
    Program("redis", "support", ("redis-server", "valkey-server"), ("/redis-", "/valkey-"), ("redis-server.service",)),
    Program("mysql", "support", ("mysqld", "mariadbd"), ("/mysqld", "/mariadbd"), ("mariadb.service",), adopts=None),
    Program("postgresql", "support", ("postgres",), ("/postgres",), ("postgresql.service",)),
    Program("openldap", "support", ("slapd",), ("/slapd",), ("slapd.service",)),
    Program("apache", "support", ("apache2", "httpd"), ("/apache2", "/httpd"), ("apache2.service", "httpd.service")),
    Program("systemd", "init", ("systemd", "init"), ("/systemd/systemd",), ("init.scope",)),
)

_BY_NAME = {name: program for program in reversed(PROGRAMS) for name in program.names}
_BY_UNIT = {unit: program for program in PROGRAMS for unit in program.units}

_INSTALLED = ("/usr/", "/opt/", "/var/", "/lib", "/sbin", "/bin", "/snap/", "/nix/")
"""Where a folder of a product's name means that product."""

_INTERPRETERS = ("python", "perl", "ruby", "node", "java", "php", "bash", "sh", "dash")

_GENERIC = frozenset(("lmtp", "anvil", "smtpd", "master", "init", "dma", "popper", "mailman", "httpd"))
"""Names that other programs have as well: believed only where the executable couldn't be read."""


def program_of(name: str | None, exe: str | None = None, unit: str | None = None) -> Program | None:
    """Return the product behind a process, or None where it isn't a known one.

    The executable decides where it is a product's own. An interpreter's says nothing, so the name and
    then the unit decide; for any other executable only a name that means one product counts.

    Args:
        name: process name.
        exe: path of the executable, where it could be read.
        unit: systemd unit of the process.
    """
    key = (name, exe, unit)
    if key not in _KNOWN:
        if len(_KNOWN) > _KNOWN_LIMIT:
            _KNOWN.clear()
        _KNOWN[key] = _identify(name, exe, unit)
    return _KNOWN[key]


_KNOWN: dict[tuple[str | None, str | None, str | None], Program | None] = {}
_KNOWN_LIMIT = 10_000


def _identify(name: str | None, exe: str | None, unit: str | None) -> Program | None:
    if not exe:
        return _by_name(name, generic=True) or _by_unit(unit)
    path = exe[: -len(" (deleted)")] if exe.endswith(" (deleted)") else exe
    found = _by_path(path)
    if found is None:
        found = _by_name(name, generic=False)
    if found is None and path.rpartition("/")[2].startswith(_INTERPRETERS):
        found = _by_unit(unit)
    return found


def _by_path(path: str) -> Program | None:
    """A directory of the product's name, or an executable whose name begins with it."""
    folder, _, base = path.rpartition("/")
    if not folder.startswith(_INSTALLED):
        folder = ""  # whose folder is called what says nothing
    for program in PROGRAMS:
        for part in program.paths:
            if part.endswith("/"):
                if part in f"{folder}/":
                    return program
            elif base.startswith(part[1:]) or path.endswith(part) or f"{part}/" in f"{folder}/":
                return program
    return None


def _by_name(name: str | None, *, generic: bool) -> Program | None:
    if not name:
        return None
    bare = name
    if bare not in _BY_NAME:  # a script's title: `postgrey --pidf`, `/usr/sbin/spamd`, `amavisd-new (ch`
        bare = name.split(" ", 1)[0].rpartition("/")[2]
    return None if bare in _GENERIC and not generic else _BY_NAME.get(bare)


def program_of_unit(unit: str | None) -> Program | None:
    """Return the product that a systemd unit belongs to, by the unit's name."""
    return _by_unit(unit)


def program_named(product: str) -> Program | None:
    """Return a product by its own name."""
    for program in PROGRAMS:
        if program.product == product:
            return program
    return None


def _by_unit(unit: str | None) -> Program | None:
    if not unit:
        return None
    found = _BY_UNIT.get(unit)
    if found is None and "@" in unit:
        stem, _, rest = unit.partition("@")
        suffix = rest[rest.rfind(".") :] if "." in rest else ""
        found = _BY_UNIT.get(f"{stem}@{suffix}") or _BY_UNIT.get(f"{stem}{suffix}")
    return found


def is_mail_product(program: Program | None) -> bool:
    """Whether a program's own business is mail."""
    return program is not None and program.kind in MAIL_KINDS
