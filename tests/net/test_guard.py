"""May we call this URL? Tricks of text, of name servers and of redirects, against a canary."""

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reelgate.net.addresses import NOT_PUBLIC, Row, why_not_public
from reelgate.net.errors import DownloadFailed, Refused, Unreachable
from reelgate.net.guard import Guard, Policy, parse
from tests.net.clients import OPEN_PORTS, fetch, guarding
from tests.net.servers import FakeResolver, Request, Server, answering, reply

LOOPBACK_HOSTS = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "127.0.0.01",
    "127.000.000.001",
    "0177.0.0.1",
    "0177.0.0.01",
    "00000177.0.0.1",
    "017700000001",
    "2130706433",
    "2130706433.",
    "0x7f000001",
    "0x7F000001",
    "0x7f.0x0.0x0.0x1",
    "0x7f.1",
    "127.0x1",
    "127.0.0x1",
    "6425673729",  # 2130706433 + 2^32
    "0",
    "0.0.0.0",
    "0x0",
    "0x",
    "00",
    "1.2.3",
    "1.2.3.4.5",
    "256.256.256.256",
    "１２７.０.０.１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127．0．0．1",
    "127.0.0.1%2f",
    "127.0.0.1%00.example.com",
    "%31%32%37.0.0.1",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:53aa:64c:0:7b:80ff:fffe]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%250]",
    "[::1]example.com",
    "[::1].example.com",
    "[v1.x]",
    "[127.0.0.1]",
    "[8.8.8.8]",
    "[::ffff:8.8.8.8]",
    "[::1",
    "::1",
    "[]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ｌｏｃａｌｈｏｓｔ",
    "localhost。",
    "foo.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "canary",
    "metadata",
    "metadata.google.internal",
    "printer.local",
    "nas.home.arpa",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "10.0.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "example..com",
    ".example.com",
    "example.com.",
    "-example.com",
    "exam ple.com",
    "example.com\u200b",
    "a" * 64 + ".com",
    ".".join(["a" * 60] * 5),
    "",
)

ODD_URLS = (
    "",
    "http",
    "http:",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "/etc/passwd",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "data:text/plain,x",
    "javascript:alert(1)",
    "ws://127.0.0.1:{port}/",
    "unix:///run/docker.sock",
    "http:127.0.0.1:{port}",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://user:pass@example.com/",
    "http://user@example.com/",
    "http://1.1.1.1&@127.0.0.1:{port}#@1.1.1.1/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://127.0.0.1:{port};@example.com/",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ ",
    "http://127.0.0.1:{port}/\r\nX-Injected: 1",
    "http://127.0.0.1\t:{port}/",
    "ht\ntp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\x00",
    "http://127.0.0.1:{port}/\x7f",
    "http://\u202e127.0.0.1:{port}/",
    "http://example.com:{port}:80/",
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:+{port}/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:0/",
    "http://example.com:0/",
    "http://example.com:٨٠/",
    "http://exa\ud800mple.com/",
    "http://1.1.1.1 127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\uff0f.example.com/",
    "http://127.0.0.1\uff1a{port}/",
    "http://example.com\uff20127.0.0.1:{port}/",
    "http://" + "a." * 5000 + "com/",
    "http://example.com/" + "a" * 9000,
)


async def test_the_canary_sings_when_it_is_called(canary: Server) -> None:
    """The proof that the tests below could fail."""
    policy = Policy(allow_http=True, ports=None, allow_private_network=True)
    async with guarding(policy) as guard:
        assert await fetch(guard, canary.url) == b"secret"
    assert canary.connections == 1


async def test_no_form_of_a_host_reaches_loopback(canary: Server) -> None:
    async with guarding(OPEN_PORTS) as guard:
        for host in LOOPBACK_HOSTS:
            for scheme in ("http", "https"):
                url = f"{scheme}://{host}:{canary.port}/"
                with pytest.raises(Refused):
                    guard.check_url(url)
                with pytest.raises(Refused):
                    await fetch(guard, url)
    assert canary.connections == 0


async def test_no_form_of_a_url_reaches_loopback(canary: Server) -> None:
    async with guarding(OPEN_PORTS) as guard:
        for form in ODD_URLS:
            url = form.replace("{port}", str(canary.port))
            with pytest.raises(Refused):
                guard.check_url(url)
            with pytest.raises(Refused):
                await fetch(guard, url)
    assert canary.connections == 0


@pytest.mark.parametrize(
    ("given_url", "called"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A?b=C#frag", "https://example.com/A?b=C"),
        ("https://8.8.8.8:8443/x", "https://8.8.8.8:8443/x"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ("https://[2606:4700:0:0::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("https://straße.de/ü?q=é", "https://xn--strae-oqa.de/%C3%BC?q=%C3%A9"),
        ("https://s3.eu-west-1.amazonaws.com/b/k%2Fx%7E+y?X-Amz-Signature=a%2Bb%3D&z",) * 2,
        ("https://my_bucket.example.com/a//b/../c/./d",) * 2,
        ('https://example.com/"<>^`{|}', "https://example.com/%22%3C%3E%5E%60%7B%7C%7D"),
        ("https://example.com:/", "https://example.com/"),
    ],
)
def test_a_signed_path_is_called_byte_for_byte(given_url: str, called: str) -> None:
    assert str(parse(given_url, Policy())) == called


@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("http://example.com/", Policy()),
        ("https://example.com:22/", Policy()),
        ("https://example.com:6379/", Policy()),
        ("https://example.com:8444/", Policy(ports=frozenset({443}))),
        ("ftp://example.com/", OPEN_PORTS),
        ("http://169.254.169.254/", Policy(allow_http=True, allow_private_network=True)),
        ("http://[::ffff:10.0.0.1]/", Policy(allow_http=True, allow_private_network=True)),
    ],
)
def test_what_a_policy_does_not_allow(url: str, policy: Policy) -> None:
    with pytest.raises(Refused):
        parse(url, policy)


@pytest.mark.parametrize(
    "url",
    ["http://10.1.2.3:9000/", "http://minio:9000/b", "http://localhost/", "http://[fd12::1]/"],
)
def test_an_operator_may_open_private_networks(url: str) -> None:
    parse(url, Policy(allow_http=True, allow_private_network=True, ports=None))


_pieces = st.one_of(
    st.sampled_from(
        ["127", "0x7f", "0177", "1", "0", "000", "１", "ffff", "a", "com", "localhost"]
    ),
    st.sampled_from([".", "。", ":", "::", "[", "]", "@", "%", "%25", "\\", "/", "?", "#", "&"]),
    st.sampled_from([" ", "\t", "xn--", "-", "_", "ß"]),
)


@given(st.lists(_pieces, min_size=1, max_size=9).map("".join), st.text(max_size=6))
@example("127.1", "")
@example("0x7f.1", "")
@example("1.1.1.1", "")
def test_what_passes_is_public_by_every_reading(host: str, rest: str) -> None:
    try:
        url = parse(f"http://{host}{rest}", OPEN_PORTS)
    except Refused:
        return
    assert parse(str(url), OPEN_PORTS) == url, "judging again changes nothing"
    assert url.raw_host is not None
    assert url.user is None
    assert url.password is None
    try:  # the oldest and most lenient reading of an address there is
        packed = socket.inet_aton(url.raw_host)
    except OSError:
        packed = None
    if packed is not None:
        assert socket.inet_ntoa(packed) == url.raw_host
        assert ipaddress.ip_address(packed).is_global
    elif ":" in url.raw_host:
        assert why_not_public(url.raw_host) is None
    else:
        assert re.fullmatch(r"[a-z0-9_.-]+\.[a-z0-9_-]+", url.raw_host)


@pytest.mark.parametrize("row", NOT_PUBLIC, ids=lambda row: str(row.network))
async def test_a_name_that_resolves_to_a_refused_address(row: Row) -> None:
    resolver = FakeResolver([[str(row.network[-1])]])
    async with guarding(OPEN_PORTS, resolver=resolver) as guard:
        with pytest.raises(Refused, match="not a public one"):
            await fetch(guard, "http://public.example.com/")
    assert resolver.asked == ["public.example.com"]


@pytest.mark.parametrize("answer", ["localhost", "127.1", "0x7f000001", "127.0.0.1%lo", "::1%lo"])
async def test_a_resolver_that_answers_no_address(answer: str, canary: Server) -> None:
    async with guarding(OPEN_PORTS, resolver=FakeResolver([[answer]])) as guard:
        with pytest.raises(DownloadFailed):
            await fetch(guard, f"http://public.example.com:{canary.port}/")
    assert canary.connections == 0


async def test_a_name_that_is_rebound_between_two_calls(inside: Server) -> None:
    resolver = FakeResolver([["127.0.0.1"], [inside.host]])
    hangs_up = {"Connection": "close"}
    async with (
        answering(lambda _: reply(b"fine", headers=hangs_up), port=inside.port) as public,
        guarding(resolver=resolver) as guard,
    ):
        url = f"http://public.example.com:{public.port}/"
        guard.check_url(url)
        assert await fetch(guard, url) == b"fine"
        _forget_names(guard)
        with pytest.raises(Refused):
            await fetch(guard, url)
    assert len(resolver.asked) == 2
    assert inside.connections == 0


def _forget_names(guard: Guard) -> None:
    """As if the resolver's cache had run out."""
    assert guard._session is not None
    connector = guard._session.connector
    connector.clear_dns_cache()  # type: ignore[union-attr]


@pytest.mark.parametrize("public_first", [True, False])
async def test_a_name_with_public_and_inside_addresses(inside: Server, public_first: bool) -> None:
    addresses = ["127.0.0.1", inside.host] if public_first else [inside.host, "127.0.0.1"]
    async with guarding(resolver=FakeResolver([addresses])) as guard:
        url = f"http://public.example.com:{inside.port}/"
        with pytest.raises((Unreachable, Refused)):  # nobody listens at the public one
            await fetch(guard, url)
        async with answering(lambda _: reply(b"fine"), port=inside.port):
            assert await fetch(guard, url) == b"fine"
    assert inside.connections == 0


async def test_several_inside_addresses_are_refused_for_good(inside: Server) -> None:
    answers = [[inside.host, "10.0.0.1", "::1", "192.168.0.1"]]
    async with guarding(resolver=FakeResolver(answers)) as guard:
        with pytest.raises(Refused):
            await fetch(guard, f"http://public.example.com:{inside.port}/")
    assert inside.connections == 0


Location = Callable[[Server], str]
ELSEWHERE: tuple[Location, ...] = (
    lambda s: s.url,
    lambda s: s.url.removeprefix("http:"),
    lambda s: f"http://user:pass@{s.host}:{s.port}/",
    lambda s: f"http://public.example.com:{s.port}/rebound",
    lambda s: "http://169.254.169.254/latest/meta-data/",
    lambda s: "http://2130706434/",
    lambda s: "file:///etc/passwd",
    lambda s: "ftp://example.com/",
    lambda s: "data:video/mp4;base64,AAAA",
    lambda s: "http://[::ffff:127.0.0.2]/",
    lambda s: "http://[",
    lambda s: "/\\evil.com\\",
    lambda s: "http://localhost:1\t/" + "\\",
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", ELSEWHERE)
async def test_redirects_to_the_inside(inside: Server, elsewhere: Location, status: int) -> None:
    headers = {"Location": elsewhere(inside)}
    resolver = FakeResolver([[inside.host]])
    async with (
        answering(lambda _: reply(b"", status, headers)) as public,
        guarding(resolver=resolver) as guard,
    ):
        with pytest.raises(Refused):
            await fetch(guard, public.url)
        assert len(public.requests) == 1
    assert inside.connections == 0


async def test_redirects_are_followed_so_far_and_carry_nothing() -> None:
    def answer(request: Request) -> bytes:
        hop = int(request.target.rpartition("/")[2])
        if hop == 0:
            return reply(b"arrived")
        return reply(b"no", 302, {"Location": f"../b/{hop - 1}", "Set-Cookie": "a=b; Path=/"})

    async with answering(answer) as public, guarding() as guard:
        assert await fetch(guard, f"{public.url}/a/4") == b"arrived"
        asked = [(request.target, sorted(request.headers)) for request in public.requests]
        bare = ["accept", "accept-encoding", "host", "user-agent"]
        assert asked == [(f"/{'a' if n == 4 else 'b'}/{n}", bare) for n in (4, 3, 2, 1, 0)]
        assert {r.headers["accept-encoding"] for r in public.requests} == {"identity"}
        with pytest.raises(Refused, match="too often"):
            await fetch(guard, f"{public.url}/a/5")
        with pytest.raises(Refused, match="too often"):
            await fetch(guard, f"{public.url}/a/999")


async def test_a_redirect_may_not_leave_https(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with (
        answering(lambda _: reply(b"plain")) as plain,
        answering(
            lambda _: reply(status=302, headers={"Location": plain.url}), ssl_context=server_tls
        ) as secure,
        guarding(ssl_context=client_tls) as guard,
    ):
        with pytest.raises(Refused, match="https to http"):
            await fetch(guard, secure.url)
        assert plain.connections == 0


async def test_tls_names_are_checked(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with answering(lambda _: reply(b"private talk"), ssl_context=server_tls) as server:
        resolver = FakeResolver([["127.0.0.1"]])
        async with guarding(resolver=resolver, ssl_context=client_tls) as guard:
            url = f"https://public.example.com:{server.port}/"
            assert await fetch(guard, url) == b"private talk"
            with pytest.raises(Unreachable, match="certificate"):
                await fetch(guard, url.replace("public", "other"))
        async with guarding(resolver=resolver) as guard:
            with pytest.raises(Unreachable, match="certificate"):
                await fetch(guard, url)
        assert len(server.requests) == 1


async def test_proxies_and_netrc_of_the_environment_mean_nothing(
    canary: Server, inside: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, inside.url)
    async with guarding() as guard:
        assert await fetch(guard, canary.url) == b"secret"
    assert inside.connections == 0


async def test_what_is_said_names_nothing_from_inside(inside: Server) -> None:
    async with guarding(resolver=FakeResolver([[inside.host]])) as guard:
        with pytest.raises(Refused) as caught:
            await fetch(guard, f"http://public.example.com:{inside.port}/secret-path")
    for secret in (inside.host, str(inside.port), "public.example.com", "secret-path"):
        assert secret not in str(caught.value)
