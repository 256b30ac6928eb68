//! Asks the neighbours on a cable who has an address: ARP for IPv4 (RFC 5227), neighbour discovery for IPv6 (RFC 4862).
//!
//! The question names no sender, so that nobody's tables change, and it can be asked before the machine has an address
//! in that subnet, or for one that another machine may have.
//!
//! **Invariant:** what is received is doubted to the last byte; nothing but a claim of exactly that address counts.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Questions for each address.
const QUESTIONS: u32 = 3;

/// Pause between two questions, and after the last. The standards wait up to nine seconds, for a network that has just
/// come up; this one has been up for long.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest wait for one frame.
const WAIT_MILLISECONDS: i64 = 50;

/// Longest frame that is looked at.
const FRAME: usize = 2048;

const ETHERNET: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// A hardware address.
pub type Hardware = [u8; 6];

/// Who of the neighbours at `port` has which of `addresses`. Those that nobody has are not in the answer, nor those
/// that this machine has itself.
///
/// # Errors
///
/// If there is no such port, or the kernel lets nobody ask there.
///
/// # Cancel safety
///
/// Dropping the future leaves a thread that ends by itself after two seconds.
pub async fn owners(port: &str, addresses: &[IpAddr]) -> io::Result<BTreeMap<IpAddr, Hardware>> {
    let (port, addresses) = (port.to_owned(), addresses.to_vec());
    tokio::task::spawn_blocking(move || ask(&port, &addresses))
        .await
        .map_err(io::Error::other)?
}

fn ask(port: &str, addresses: &[IpAddr]) -> io::Result<BTreeMap<IpAddr, Hardware>> {
    let link = link(port)?;
    let own = link
        .addr()
        .ok_or_else(|| io::Error::other("the port has no hardware address"))?;
    let socket = open(&link)?;
    let mut owners = BTreeMap::new();
    for _ in 0..QUESTIONS {
        for address in addresses.iter().filter(|address| !owners.contains_key(*address)) {
            let frame = question(own, *address);
            sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty())?;
        }
        let until = Instant::now() + PAUSE;
        let mut frame = [0; FRAME];
        while Instant::now() < until && addresses.iter().any(|address| !owners.contains_key(address)) {
            let length = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) {
                Ok((length, _)) => length,
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let claim = frame.get(..length).and_then(claim);
            if let Some((address, owner)) = claim
                && owner != own
                && addresses.contains(&address)
            {
                owners.insert(address, owner);
            }
        }
    }
    Ok(owners)
}

/// The port as packet sockets name it: its number can be had from the kernel's own list only.
fn link(port: &str) -> io::Result<LinkAddr> {
    let found = nix::ifaddrs::getifaddrs()?
        .filter(|one| one.interface_name == port)
        .find_map(|one| one.address?.as_link_addr().copied());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no port {port}")))
}

fn open(link: &LinkAddr) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    // Bound before anything is waited for; frames that came in between from other ports claim nothing we ask for.
    bind(socket.as_raw_fd(), link)?;
    setsockopt(
        &socket,
        sockopt::ReceiveTimeout,
        &TimeVal::milliseconds(WAIT_MILLISECONDS),
    )?;
    Ok(socket)
}

fn question(own: Hardware, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_question(own, address),
        IpAddr::V6(address) => solicitation(own, address),
    }
}

fn arp_question(own: Hardware, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend([0xff; 6]);
    frame.extend(own);
    frame.extend(ARP);
    // Ethernet, IPv4, lengths of both addresses, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(60, 0);
    frame
}

fn solicitation(own: Hardware, address: Ipv6Addr) -> Vec<u8> {
    let target = address.octets();
    let [.., a, b, c] = target;
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target);
    let sum = checksum([0; 16], group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Vec::with_capacity(86);
    frame.extend([0x33, 0x33, 0xff, a, b, c]);
    frame.extend(own);
    frame.extend(IPV6);
    // Version 6, 24 bytes, ICMPv6, and as many hops as only a neighbour's packet has left.
    frame.extend([0x60, 0, 0, 0, 0, 24, ICMPV6, 255]);
    frame.extend([0; 16]);
    frame.extend(group);
    frame.extend(message);
    frame
}

/// The checksum of an ICMPv6 message (RFC 4443, 2.3).
fn checksum(from: [u8; 16], to: [u8; 16], message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let tail = [0, 0, 0, ICMPV6];
    let pieces: [&[u8]; 5] = [&from, &to, &length, &tail, message];
    let mut sum: u32 = 0;
    for piece in pieces {
        for pair in piece.chunks(2) {
            let high = u32::from(pair[0]) << 8;
            let low = pair.get(1).copied().map_or(0, u32::from);
            sum += high + low;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Who claims which address in `frame`, if anybody does.
fn claim(frame: &[u8]) -> Option<(IpAddr, Hardware)> {
    let kind: [u8; 2] = frame.get(12..14)?.try_into().ok()?;
    let body = frame.get(ETHERNET..)?;
    match kind {
        ARP => arp_claim(body),
        IPV6 => advertisement(frame.get(6..12)?.try_into().ok()?, body),
        _ => None,
    }
}

/// Whoever sends ARP under an address has it, whether it asks or answers.
fn arp_claim(body: &[u8]) -> Option<(IpAddr, Hardware)> {
    if body.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let owner = body.get(8..14)?.try_into().ok()?;
    let address: [u8; 4] = body.get(14..18)?.try_into().ok()?;
    let address = Ipv4Addr::from(address);
    (!address.is_unspecified()).then_some((address.into(), owner))
}

fn advertisement(sender: Hardware, body: &[u8]) -> Option<(IpAddr, Hardware)> {
    let is_neighbours = *body.get(6)? == ICMPV6 && *body.get(7)? == 255;
    let message = body.get(40..)?;
    if !is_neighbours || *message.first()? != ADVERTISEMENT {
        return None;
    }
    let target: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    // The option that names the owner's hardware address; without it the sender is the owner.
    let option = message.get(24..32).filter(|option| option[..2] == [2, 1]);
    let named = option.and_then(|option| option[2..8].try_into().ok());
    Some((Ipv6Addr::from(target).into(), named.unwrap_or(sender)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Hardware = [2, 0, 0, 0, 0, 1];
    const OTHER: Hardware = [2, 0, 0, 0, 0, 2];

    #[test]
    fn the_question_claims_nothing() {
        for address in ["192.0.2.7", "2001:db8::7"] {
            assert_eq!(claim(&question(OWN, address.parse().unwrap())), None, "{address}");
        }
    }

    #[test]
    fn an_answer_names_its_owner() {
        let mut frame = arp_question(OTHER, Ipv4Addr::new(192, 0, 2, 1));
        frame[28..32].copy_from_slice(&[192, 0, 2, 7]);
        assert_eq!(claim(&frame), Some((IpAddr::from([192, 0, 2, 7]), OTHER)));

        let target: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let mut frame = solicitation(OWN, target);
        frame[6..12].copy_from_slice(&OTHER);
        frame[ETHERNET + 40] = ADVERTISEMENT;
        assert_eq!(claim(&frame), Some((target.into(), OTHER)));
        frame.extend([2, 1, 2, 0, 0, 0, 0, 9]);
        assert_eq!(claim(&frame), Some((target.into(), [2, 0, 0, 0, 0, 9])));
        frame[ETHERNET + 7] = 254;
        assert_eq!(claim(&frame), None, "from behind a router");
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_claims_nothing_else() {
        let mut arp = arp_question(OTHER, Ipv4Addr::new(192, 0, 2, 1));
        arp[28..32].copy_from_slice(&[192, 0, 2, 7]);
        let mut six = solicitation(OWN, "2001:db8::7".parse().unwrap());
        six[ETHERNET + 40] = ADVERTISEMENT;
        for frame in [arp, six] {
            let whole = claim(&frame);
            for end in 0..frame.len() {
                let cut = claim(&frame[..end]);
                assert!(cut.is_none() || cut == whole, "{end}");
            }
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // Summed with its own checksum in place, a message gives zero.
        let frame = solicitation(OWN, "fe80::1".parse().unwrap());
        let to: [u8; 16] = frame[ETHERNET + 24..ETHERNET + 40].try_into().unwrap();
        assert_eq!(checksum([0; 16], to, &frame[ETHERNET + 40..]), 0);
    }
}
