"""One network namespace, one veth pair and one /24 for each host; masquerading for all.

Everything made here is named so that it can be found again, and removed, without any record.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from sandbox_host.common import HOSTS, RUN, SandboxError, replace_file, run, succeeds

POOL = ipaddress.ip_network("10.213.0.0/16")
TABLE = "quantum_sandbox"
COMMENT = "quantum-sandbox"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
REMEMBERED = RUN / "ip_forward.before"
NAMESPACES = Path("/run/netns")
NAMESPACES_ARE_OURS = RUN / "netns.ours"
LINK_PREFIX = "qs-"


@dataclass(frozen=True)
class Wire:
    """How one host is connected: its slot in the pool and its tag name everything."""

    tag: str
    slot: int

    @property
    def link(self) -> str:
        return f"{LINK_PREFIX}{self.tag}-{self.slot}"  # 11 characters at most; the kernel takes 15

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        return list_of_subnets()[self.slot]

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    @property
    def address(self) -> str:
        return str(self.subnet[2])


def list_of_subnets() -> list[ipaddress.IPv4Network]:
    """The /24 networks of the pool; the index is the slot."""
    return list(ipaddress.IPv4Network(str(POOL)).subnets(new_prefix=24))


def free_slot(taken: set[int]) -> int:
    """The first slot neither taken by a record nor overlapping a network this machine knows."""
    known = _networks_of_this_machine()
    for slot, subnet in enumerate(list_of_subnets()):
        if slot and slot not in taken and not any(subnet.overlaps(other) for other in known):
            return slot
    raise SandboxError(f"no free network left in {POOL}; take a host down first")


def _networks_of_this_machine() -> list[ipaddress.IPv4Network]:
    networks = []
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all")):
        destination = route.get("dst", "default")
        if destination == "default" or str(route.get("dev", "")).startswith(LINK_PREFIX):
            continue
        network = ipaddress.ip_network(destination, strict=False)
        # A wider route (a VPN's 10.0.0.0/8) does no harm: ours is more specific.
        if isinstance(network, ipaddress.IPv4Network) and network.prefixlen >= 16:
            networks.append(network)
    return networks


def uplink_mtu() -> int:
    """The MTU of the default route's link; 1500 if there is none."""
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "default")):
        return int(json.loads(run("ip", "-json", "link", "show", "dev", route["dev"]))[0]["mtu"])
    return 1500


def connect(wire: Wire) -> None:
    """Make namespace, link and address; what an earlier run left under these names goes first."""
    disconnect(wire)
    mtu = str(uplink_mtu())
    if not NAMESPACES.exists():
        replace_file(NAMESPACES_ARE_OURS, "")
    run("ip", "netns", "add", wire.link)
    run("ip", "link", "add", wire.link, "mtu", mtu, "type", "veth",
        "peer", "name", "host0", "netns", wire.link, "mtu", mtu)  # fmt: skip
    run("ip", "address", "add", f"{wire.gateway}/24", "dev", wire.link)
    run("ip", "link", "set", wire.link, "up")


def is_connected(wire: Wire) -> bool:
    """True if link and namespace are there."""
    return wire.link in _links() and (NAMESPACES / wire.link).exists()


def disconnect(wire: Wire) -> None:
    """Remove link and namespace, whichever of them is there."""
    if wire.link in _links():
        run("ip", "link", "delete", wire.link)
    if (NAMESPACES / wire.link).exists():
        run("ip", "netns", "delete", wire.link)


def open_the_way_out() -> None:
    """Masquerade the pool, forward packets, and pass a firewall that drops forwarded ones."""
    run(
        "nft",
        "-f",
        "-",
        stdin=f"""
table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {POOL} oifname != "{LINK_PREFIX}*" masquerade
  }}
}}
""",
    )
    if FORWARDING.read_text().strip() == "0":
        replace_file(REMEMBERED, f"0 {BOOT_ID.read_text()}")
        FORWARDING.write_text("1")
    for rule in _accept_rules():
        if not succeeds("iptables", "--wait", "-C", "FORWARD", *rule):
            run("iptables", "--wait", "-I", "FORWARD", *rule)


def close_the_way_out() -> None:
    """Undo open_the_way_out and leave the forwarding setting as it was found."""
    if succeeds("nft", "list", "table", "ip", TABLE):
        run("nft", "delete", "table", "ip", TABLE)
    for rule in _accept_rules(even_if_open=True):
        if succeeds("iptables", "--wait", "-C", "FORWARD", *rule):
            run("iptables", "--wait", "-D", "FORWARD", *rule)
    if NAMESPACES_ARE_OURS.exists() and NAMESPACES.exists() and not any(NAMESPACES.iterdir()):
        succeeds("umount", str(NAMESPACES))  # "ip netns" mounts its folder and leaves it
        NAMESPACES.rmdir()
    NAMESPACES_ARE_OURS.unlink(missing_ok=True)
    if REMEMBERED.exists():
        # It was 0: nothing else is ever remembered. A note without its boot counts as of this one.
        boot = REMEMBERED.read_text().partition(" ")[2].strip()
        if boot in ("", BOOT_ID.read_text().strip()):  # a reboot gave it back already
            FORWARDING.write_text("0")
        REMEMBERED.unlink()


def _accept_rules(*, even_if_open: bool = False) -> list[tuple[str, ...]]:
    """The iptables rules needed where Docker or ufw drops what is forwarded.

    An accept in our own nftables table would not do: a drop in any other chain is final.
    """
    if not shutil.which("iptables") or not succeeds("iptables", "--wait", "-S", "FORWARD"):
        return []
    if not even_if_open and "-P FORWARD ACCEPT" in run("iptables", "--wait", "-S", "FORWARD"):
        return []
    mark = ("-m", "comment", "--comment", COMMENT, "-j", "ACCEPT")
    return [("-i", f"{LINK_PREFIX}+", *mark), ("-o", f"{LINK_PREFIX}+", *mark)]


def leftover_links(tag: str) -> list[str]:
    """Names of links and namespaces of this checkout, recorded or not."""
    namespaces = [path.name for path in NAMESPACES.iterdir()] if NAMESPACES.exists() else []
    prefix = f"{LINK_PREFIX}{tag}-"
    return sorted({name for name in (*_links(), *namespaces) if name.startswith(prefix)})


def _links() -> set[str]:
    return {link["ifname"] for link in json.loads(run("ip", "-json", "link", "show"))}


def nobody_left() -> bool:
    """True if no host of any checkout has a directory any more."""
    return not HOSTS.exists() or not any(HOSTS.iterdir())
