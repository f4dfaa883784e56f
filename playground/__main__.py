"""The command line: `python -m playground portal | receiver | media | proxy`.

In: arguments, and secrets from the environment, never from arguments. Out: a process that serves
until told to stop, or files. Exit code 2 for arguments or files that cannot be understood.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from playground.certificate import CertificateError, make_certificate, server_context
from playground.media import outline
from playground.portal import TOKEN, Place, Portal
from playground.portal.course_file import CourseFileError, Plan, load, parse
from playground.portal.faults import describe
from playground.process import run
from playground.proxy import Proxy
from playground.proxy.control import ControlledProxy
from playground.receiver import Receiver


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        chosen.act(chosen)
    except (CourseFileError, CertificateError, OSError, ValueError) as error:
        print(f"playground: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m playground", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_portal(commands.add_parser(
        "portal",
        help="a fake course platform with its CDN",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"the fault script, at /_control/faults on the port of the API:\n{describe()}",
    ))  # fmt: skip
    _add_receiver(
        commands.add_parser("receiver", help="a webhook receiver that checks every delivery")
    )
    _add_proxy(commands.add_parser("proxy", help="a TCP proxy with latency, freezes and cuts"))
    _add_media(
        commands.add_parser("media", help="make the sample courses with real media (needs PyAV)")
    )
    return parser


def _add_serving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 = any free one (%(default)s)")
    parser.add_argument(
        "--ready-file", type=Path, help="JSON with the addresses, written when they answer"
    )


def _add_portal(parser: argparse.ArgumentParser) -> None:
    _add_serving(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--courses", type=Path, help="YAML or JSON course file")
    source.add_argument(
        "--media", type=Path, help="folder of the sample with real media; made if needed"
    )
    parser.add_argument("--cdn-port", type=int, default=0, help="port of the CDN; 0 = any free one")
    parser.add_argument("--public-cdn", help="base URL of the CDN as clients reach it")
    parser.add_argument(
        "--ttl", type=float, default=3600.0, help="seconds a signed link lives (%(default)s)"
    )
    parser.add_argument(
        "--page-cap", type=int, default=100, help="largest page of a list (%(default)s)"
    )
    parser.add_argument(
        "--tls", type=Path, metavar="DIR", help="serve HTTPS; certificate.pem is made in DIR"
    )
    parser.set_defaults(act=_portal)


def _add_receiver(parser: argparse.ArgumentParser) -> None:
    _add_serving(parser)
    parser.add_argument("--signature-header", default="X-Signature", help="name (%(default)s)")
    parser.description = "Reads API_SECRET_KEY and WEBHOOK_SIGNING_KEY from the environment."
    parser.set_defaults(act=_receiver)


def _add_proxy(parser: argparse.ArgumentParser) -> None:
    _add_serving(parser)
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="where it leads")
    parser.add_argument(
        "--delay-ms", type=float, default=0.0, help="latency each way (%(default)s)"
    )
    parser.add_argument("--control-port", type=int, default=0, help="port of the control API")
    parser.set_defaults(act=_proxy)


def _add_media(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, help="folder; what is there already is kept"
    )
    parser.set_defaults(act=_media)


def _portal(chosen: argparse.Namespace) -> None:
    plan = _plan(chosen)
    tls = None
    if chosen.tls:
        make_certificate(chosen.tls)
        tls = server_context(chosen.tls)
    portal = Portal(
        plan.courses,
        plan.tokens or {os.environ.get("PLATFORM_TOKEN") or TOKEN: ("*",)},
        place=Place(chosen.host, chosen.port, chosen.cdn_port, chosen.public_cdn),
        ttl=chosen.ttl,
        page_cap=chosen.page_cap,
        tls=tls,
    )
    courses = {f"course {one.slug}": portal.course_url(one.slug) for one in plan.courses}
    run(portal, {"url": portal.url, "cdn_url": portal.cdn_url, **courses}, chosen.ready_file)


def _plan(chosen: argparse.Namespace) -> Plan:
    if chosen.media:
        return load(_build(chosen.media))
    return (
        load(chosen.courses)
        if chosen.courses
        else parse(outline.course_file(outline.computed), Path())
    )


def _receiver(chosen: argparse.Namespace) -> None:
    receiver = Receiver(
        secret=os.environ.get("API_SECRET_KEY") or None,
        signing_key=os.environ.get("WEBHOOK_SIGNING_KEY") or None,
        signature_header=chosen.signature_header,
        host=chosen.host,
        port=chosen.port,
    )
    run(receiver, {"url": receiver.url, "base": receiver.base}, chosen.ready_file)


def _proxy(chosen: argparse.Namespace) -> None:
    name, _, port = chosen.to.rpartition(":")
    if not name or not port.isdigit():
        raise ValueError(f"--to is {chosen.to!r}; it must be HOST:PORT.")
    delay = chosen.delay_ms / 1000
    proxy = Proxy((name, int(port)), delay=delay, host=chosen.host, port=chosen.port)
    controlled = ControlledProxy(proxy, host=chosen.host, port=chosen.control_port)
    addresses = {"address": f"{proxy.host}:{proxy.port}", "control": controlled.url}
    run(controlled, addresses, chosen.ready_file)


def _media(chosen: argparse.Namespace) -> None:
    print(_build(chosen.out))


def _build(folder: Path) -> Path:
    from playground.media.build import build  # PyAV is an extra, and slow to load

    return build(folder)


if __name__ == "__main__":
    sys.exit(main())
