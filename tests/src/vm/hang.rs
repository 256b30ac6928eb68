//! A machine that hangs: what it was doing, and how to make one hang for good.
//!
//! The processors are stopped from outside, by the debugger's door of QEMU: nothing inside has a part in it.

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{OBEY, Vm};
use crate::wait::until;

/// Numbers of registers as the protocol of GDB counts them on x86-64: where a processor is, and whether it listens.
const PLACE: &str = "10";
const FLAGS: &str = "11";
/// In the flags: interrupts are listened to.
const LISTENS: u32 = 1 << 9;
/// A jump to itself.
const FOR_EVER: &str = "ebfe";

impl Vm {
    /// Where its processors are: a machine that hangs before it has a console cannot say so itself.
    pub(super) async fn condition(&self) -> String {
        let status = self.monitor("info status").await.unwrap_or_default();
        let registers = self.monitor("info registers -a").await.unwrap_or_default();
        let told = registers
            .lines()
            .filter(|line| line.contains("CPU#") || line.contains("IP=") || line.starts_with("CR0="));
        told.fold(status, |text, line| text + "\n" + line.trim())
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
    fn registers_are_read_from_their_lowest_byte_on() {
        assert_eq!(little_endian("46020000").unwrap(), 0x246);
        assert_eq!(little_endian("00100081ffffffff").unwrap(), 0xffff_ffff_8100_1000);
        assert!(little_endian("E01x").is_err());
    }
}
