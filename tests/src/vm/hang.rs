//! A machine that hangs: what it was doing and had said, and how to make one hang for good.
//!
//! The processors are stopped from outside, by the debugger's door of QEMU: nothing inside has a part in it.

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{MEMORY, OBEY, PROCESSORS, Vm};
use crate::wait::until;

/// Numbers of registers as the protocol of GDB counts them on x86-64: where a processor is, and whether it listens.
const PLACE: &str = "10";
const FLAGS: &str = "11";
/// In the flags: interrupts are listened to.
const LISTENS: u32 = 1 << 9;
/// What a kernel keeps of its log at least, before it begins anew.
const LOG: usize = 256 << 10;
/// Lines of it that are told of a machine that hangs, and how long a text must be that is taken for one.
const LINES: usize = 40;
const SHORTEST: usize = 12;
/// A jump to itself.
const FOR_EVER: &str = "ebfe";

impl Vm {
    /// Where its processors are, which interrupts they wait for and what its kernel said last: a machine that hangs before
    /// it has a console cannot say so itself.
    pub(super) async fn condition(&self) -> String {
        let status = self.monitor("info status").await.unwrap_or_default();
        let registers = self.monitor("info registers -a").await.unwrap_or_default();
        let mut interrupts = String::new();
        for processor in 0..PROCESSORS {
            let said = self.monitor(&format!("info lapic {processor}")).await;
            interrupts += &said.unwrap_or_default();
        }
        let places = registers
            .lines()
            .filter(|line| line.contains("CPU#") || line.contains("IP=") || line.starts_with("CR"));
        let waited_for = interrupts.lines().filter(|line| {
            ["dumping", "Timer", "ISR", "IRR", "APR"]
                .iter()
                .any(|word| line.starts_with(word))
        });
        let told = places.chain(waited_for).map(str::trim);
        let log = self
            .kernel_log()
            .await
            .map(|mut lines| lines.split_off(lines.len().saturating_sub(LINES)));
        let log = log.unwrap_or_else(|error| vec![format!("(its memory cannot be read: {error:#})")]);
        let lines = std::iter::once(status.as_str()).chain(told);
        let lines = lines.chain(std::iter::once("--- its kernel said last"));
        lines
            .chain(log.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The lines of the kernel's log, out of the machine's memory: nothing inside is asked.
    ///
    /// # Errors
    ///
    /// If its memory cannot be had.
    pub async fn kernel_log(&self) -> anyhow::Result<Vec<String>> {
        let file = self.file("memory");
        self.order(&format!("pmemsave 0 {MEMORY:#x} \"{file}\"")).await?;
        let memory = std::fs::read(&file)?;
        std::fs::remove_file(&file)?;
        Ok(log_in(&memory))
    }

    /// Makes its `processors` run in circles and listen to nothing, as after a fault of the kernel or the hypervisor.
    ///
    /// # Errors
    ///
    /// If QEMU's debugger does not obey.
    pub async fn freeze(&self, processors: u8) -> anyhow::Result<()> {
        let door = self.file("debugger");
        self.monitor(&format!("gdbserver unix:{door},server=on,wait=off"))
            .await?;
        let mut socket = until("the debugger's door", OBEY, async || {
            UnixStream::connect(&door).await.ok()
        })
        .await?;
        for processor in 1..=processors {
            ask(&mut socket, &format!("Hg{processor}")).await?;
            let place = little_endian(&ask(&mut socket, &format!("p{PLACE}")).await?)?;
            let flags = little_endian(&ask(&mut socket, &format!("p{FLAGS}")).await?)?;
            let flags = u32::try_from(flags & u64::from(u32::MAX))? & !LISTENS;
            let flags: String = flags
                .to_le_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            for order in [format!("M{place:x},2:{FOR_EVER}"), format!("P{FLAGS}={flags}")] {
                let said = ask(&mut socket, &order).await?;
                anyhow::ensure!(said == "OK", "the debugger says to `{order}`: {said}");
            }
        }
        ask(&mut socket, "D").await?;
        self.monitor("gdbserver none").await.map(drop)
    }
}

/// One question of GDB's protocol, and its answer.
async fn ask(socket: &mut UnixStream, question: &str) -> anyhow::Result<String> {
    let sum = question.bytes().fold(0_u8, u8::wrapping_add);
    let asked = async {
        socket
            .write_all(format!("${question}#{sum:02x}").as_bytes())
            .await?;
        let mut answer = Vec::new();
        // Acknowledgements come before it, and two digits of a sum after it.
        while !(answer.len() >= 3 && answer[answer.len() - 3] == b'#') {
            let byte = socket.read_u8().await?;
            if byte == b'$' {
                answer.clear();
            } else {
                answer.push(byte);
            }
        }
        socket.write_all(b"+").await?;
        answer.truncate(answer.len() - 3);
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(OBEY, asked)
        .await
        .with_context(|| format!("the debugger does not answer `{question}`"))?
}

/// The lines of the log that lies in the memory of a Linux: between its first two lines lie no names of journald's fields,
/// as they do in copies.
fn log_in(memory: &[u8]) -> Vec<String> {
    let begins = memchr::memmem::find_iter(memory, "Linux version ");
    let logs = begins
        .map(|at| &memory[at..memory.len().min(at + LOG)])
        .filter(|log| {
            let second = memchr::memmem::find(&log[..log.len().min(4096)], b"Command line: ");
            second.is_some_and(|at| memchr::memmem::find(&log[..at], b"MESSAGE=").is_none())
        });
    let lines = logs.flat_map(|log| {
        let texts = log.split(|byte| !(b' '..=b'~').contains(byte));
        let texts = texts.filter(|text| text.len() >= SHORTEST);
        texts.map(|text| String::from_utf8_lossy(text).into_owned())
    });
    lines.collect()
}

fn little_endian(hex: &str) -> anyhow::Result<u64> {
    let mut value = 0;
    for (index, digits) in hex.as_bytes().chunks(2).enumerate().take(8) {
        let byte = u64::from_str_radix(std::str::from_utf8(digits)?, 16)
            .with_context(|| format!("`{hex}` is no register"))?;
        value |= byte << (8 * index);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_kernels_log_are_found_in_its_memory() {
        let mut memory = vec![0_u8; 10_000];
        let mut put = |at: usize, text: &str| memory[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(100, "MESSAGE=Linux version 1.2");
        put(200, "_PID=1 MESSAGE=Command line: quiet");
        put(3000, "Linux version 1.2 (somebody)");
        put(3040, "Command line: quiet");
        put(3100, "virtio_blk virtio1: 2 queues");
        put(3200, "short");
        let lines = log_in(&memory);
        let last = lines.last().map(String::as_str);
        assert_eq!((lines.len(), last), (3, Some("virtio_blk virtio1: 2 queues")));
    }

    #[test]
    fn registers_are_read_from_their_lowest_byte_on() {
        assert_eq!(little_endian("46020000").unwrap(), 0x246);
        assert_eq!(little_endian("00100081ffffffff").unwrap(), 0xffff_ffff_8100_1000);
        assert!(little_endian("E01x").is_err());
    }
}
