//! Asks VMware's hypervisor for a variable of this machine ("guestinfo"), over the socket that it has for guests.
//!
//! The frames are those of VMware's own tools: the length of what follows, then fields of a type, a number and a value,
//! all integers of 32 bits and big-endian, those of 64 bits as two halves, the lower one first.
//!
//! **Invariant:** every length that comes back is bounded before it is used; nothing is asked on another hypervisor.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, VsockAddr, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// Where the firmware says who made the machine.
const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
/// The hypervisor's address and its port for questions.
const HYPERVISOR: u32 = 0;
const PORT: u32 = 976;
/// Any address of this machine.
const ANY: u32 = u32::MAX;
/// Ports that only root can have: VMware can be told to answer no others.
const OWN_PORTS: std::ops::Range<u32> = 900..1_024;
/// What an answer may take, in seconds.
const PATIENCE: i64 = 5;
/// Longest answer, in bytes.
const LONGEST: u32 = 1 << 20;

/// Kinds of fields.
const NUMBER: u32 = 1;
const TEXT: u32 = 2;
/// Fields of a frame: what it is, and what it says.
const KIND: u32 = 1;
const PAYLOAD: u32 = 2;
/// The kind of a frame that is a question or an answer.
const DATA: u32 = 1;

/// The variable `name` of this machine; none if it has none, or the hypervisor is another one.
///
/// Blocks for some seconds at most.
///
/// # Errors
///
/// If VMware does not answer, or nothing that can be understood.
pub fn guestinfo(name: &str) -> io::Result<Option<String>> {
    let vendor = fs::read_to_string(VENDOR).unwrap_or_default();
    if !vendor.starts_with("VMware") {
        return Ok(None);
    }
    ask(&mut dial()?, name)
}

fn dial() -> io::Result<File> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
    // Without one of these it is answered too, unless that was forbidden.
    let _ = OWN_PORTS
        .rev()
        .find(|port| bind(socket.as_raw_fd(), &VsockAddr::new(ANY, *port)).is_ok());
    let patience = TimeVal::seconds(PATIENCE);
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    connect(socket.as_raw_fd(), &VsockAddr::new(HYPERVISOR, PORT))?;
    Ok(File::from(socket))
}

fn ask(stream: &mut (impl Read + Write), name: &str) -> io::Result<Option<String>> {
    stream.write_all(&frame(&format!("info-get guestinfo.{name}")))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(unclear());
    }
    let mut fields = vec![0; usize::try_from(length).map_err(|_| unclear())?];
    stream.read_exact(&mut fields)?;
    let said = payload(&fields).ok_or_else(unclear)?;
    let said = String::from_utf8_lossy(said);
    // `1 VALUE`, or `0 WHY` if there is no such variable.
    match said.split_at_checked(1) {
        Some(("1", value)) => Ok(Some(value.trim_matches([' ', '\0', '\n']).to_owned())),
        Some(("0", _)) => Ok(None),
        _ => Err(unclear()),
    }
}

fn frame(question: &str) -> Vec<u8> {
    let length = u32::try_from(question.len()).unwrap_or_default();
    let fields = [NUMBER, KIND, DATA, 0, TEXT, PAYLOAD, length];
    let mut bytes: Vec<u8> = fields.into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend_from_slice(question.as_bytes());
    let whole = u32::try_from(bytes.len()).unwrap_or_default();
    [&whole.to_be_bytes(), bytes.as_slice()].concat()
}

/// What a frame says, of its fields.
fn payload(mut fields: &[u8]) -> Option<&[u8]> {
    loop {
        let (kind, number) = (integer(&mut fields)?, integer(&mut fields)?);
        match kind {
            NUMBER => fields = fields.get(8..)?,
            TEXT => {
                let length = usize::try_from(integer(&mut fields)?).ok()?;
                let (text, rest) = fields.split_at_checked(length)?;
                if number == PAYLOAD {
                    return Some(text);
                }
                fields = rest;
            }
            _ => return None,
        }
    }
}

fn integer(bytes: &mut &[u8]) -> Option<u32> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*first))
}

fn unclear() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "the answer of VMware cannot be understood",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// As the hypervisor's end: reads one question, answers `answer`, and says what was asked.
    fn hypervisor(mut stream: UnixStream, answer: Vec<u8>) -> Vec<u8> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut question).unwrap();
        stream.write_all(&answer).unwrap();
        question
    }

    fn asked(answer: Vec<u8>) -> (io::Result<Option<String>>, Vec<u8>) {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let peer = std::thread::spawn(|| hypervisor(theirs, answer));
        let got = ask(&mut ours, "ovfEnv");
        drop(ours);
        (got, peer.join().unwrap())
    }

    #[test]
    fn a_variable_is_asked_for_as_vmwares_tools_do_it() {
        let (got, question) = asked(frame("1 <Environment/>\0"));
        assert_eq!(got.unwrap().as_deref(), Some("<Environment/>"));
        let mut expected = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        expected.extend([0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 25]);
        expected.extend(b"info-get guestinfo.ovfEnv");
        assert_eq!(question, expected);
    }

    #[test]
    fn a_variable_that_is_not_there_is_none() {
        let (got, _) = asked(frame("0 No value found"));
        assert_eq!(got.unwrap(), None);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error() {
        let mut too_long = frame("1 x");
        too_long[0] = 0xff;
        let mut cut = frame("1 x");
        cut[3] -= 4;
        for answer in [vec![0; 4], too_long, cut, frame(""), frame("2"), frame("é")] {
            assert!(asked(answer).0.is_err());
        }
    }

    #[test]
    fn nobody_is_asked_on_another_hypervisor() {
        let vendor = fs::read_to_string(VENDOR).unwrap_or_default();
        if !vendor.starts_with("VMware") {
            assert_eq!(guestinfo("ovfEnv").unwrap(), None);
        }
    }

    #[test]
    fn no_answer_is_read_past_its_end() {
        let whole = frame("1 <Environment/>");
        for end in 4..whole.len() {
            let mut cut = whole[4..end].to_vec();
            assert_eq!(payload(&cut), None, "{end}");
            cut.fill(0xff);
            assert_eq!(payload(&cut), None, "{end}");
        }
    }
}
