//! The page of a machine whose data cannot be used: says what happened and asks what to do, on the screen and on the
//! serial line. Waits for ever: a machine that restarts by itself tells nobody anything.
//!
//! **Invariant:** input is one line, compared with the few that mean something; nothing of it is run or shown.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use satellite_host::exec::Exec;

use super::BootError;
use super::data::{self, DataError};

/// Where somebody may look.
const CONSOLES: [&str; 3] = ["/dev/tty1", "/dev/ttyS0", "/dev/hvc0"];
/// How often they are asked.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer lines mean nothing.
const LINE: usize = 64;
/// What must be typed to erase everything.
const WORD: &str = "DELETE";
/// What must be typed to correct everything. As in [`WORD`], no letter moves between keyboards.
const FIX: &str = "FIX";

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Choices,
    ConfirmRepair,
    ConfirmReset,
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Restart,
    Repair,
    Reset,
    PowerOff,
}

impl Page {
    /// What a line leads to.
    fn after(self, line: &str) -> (Self, Option<Wish>) {
        match (self, line.trim()) {
            (Self::Choices, "1") => (Self::Choices, Some(Wish::Restart)),
            (Self::Choices, "2") => (Self::ConfirmRepair, None),
            (Self::Choices, "3") => (Self::ConfirmReset, None),
            (Self::Choices, "4") => (Self::Choices, Some(Wish::PowerOff)),
            (Self::ConfirmRepair, FIX) => (Self::Choices, Some(Wish::Repair)),
            (Self::ConfirmReset, WORD) => (Self::Choices, Some(Wish::Reset)),
            _ => (Self::Choices, None),
        }
    }

    /// The text, with line ends for a terminal that nobody has set up.
    fn text(self, why: &str) -> String {
        let text = match self {
            Self::Choices => format!(
                "  SATELLITE: RESCUE\n\n  This satellite has not started.\n\n  What happened:\n\
                 {}\n\n  1  Restart\n  2  Repair the data partition\n  3  Factory reset\n  4  Shut down\n\n  \
                 Type a number and press Enter: ",
                folded(why)
            ),
            Self::ConfirmRepair => {
                format!(
                    "  REPAIR\n\n  The data partition is checked and corrected. What cannot be corrected is lost.\n  \
                     If the disk can be copied, copy it first.\n\n  Type {FIX} and press Enter, or only Enter to go \
                     back: "
                )
            }
            Self::ConfirmReset => format!(
                "  FACTORY RESET\n\n  Everything on this satellite is erased: its identity, its network settings, its\n  \
                 programs and all backups that it keeps. It must be connected to its server again.\n\n  Type {WORD} \
                 and press Enter, or only Enter to go back: "
            ),
        };
        // From the top of an empty screen.
        format!("\x1b[2J\x1b[H\n{text}").replace('\n', "\r\n")
    }
}

/// At most 76 characters a line, indented; nothing that steers a terminal.
fn folded(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut lines = vec![String::new()];
    for word in clean.split_whitespace().take(100) {
        let word: String = word.chars().take(72).collect();
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last + 1 + word.chars().count() > 72 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// Shows why there is no data and does what somebody chooses. Answers when the data may be tried again.
///
/// # Errors
///
/// [`BootError::NoConsole`] if nobody can be asked.
pub(super) async fn ask(error: DataError, disk: &Path) -> Result<(), BootError> {
    let mut why = crate::cli::error_chain(&error);
    tracing::error!(error = %why, "Data cannot be used: waiting for somebody at the console");
    let mut consoles: Vec<Console> = CONSOLES.iter().filter_map(|path| Console::open(path)).collect();
    if consoles.is_empty() {
        return Err(BootError::NoConsole(error));
    }
    let mut page = Page::Choices;
    loop {
        let shown = page.text(&why);
        consoles.iter_mut().for_each(|console| console.show(&shown));
        let line = next_line(&mut consoles).await;
        let (next, wish) = page.after(&line);
        page = next;
        let Some(wish) = wish else { continue };
        let working = "\r\n\r\n  Working. Do not switch the machine off.\r\n";
        consoles.iter_mut().for_each(|console| console.show(working));
        let done = match wish {
            Wish::Restart => end("reboot").await,
            Wish::PowerOff => end("poweroff").await,
            Wish::Repair => data::repair(disk).await,
            Wish::Reset => data::erase_all(disk).await,
        };
        match done {
            Ok(()) => return Ok(()),
            Err(error) => why = crate::cli::error_chain(&error),
        }
    }
}

/// Ends the machine: there is no service manager that could be asked.
async fn end(how: &str) -> Result<(), DataError> {
    let end = Exec::new("systemctl")
        .args(["--force", "--force", how])
        .run()
        .await;
    end.map(|_| ()).map_err(DataError::Mount)?;
    // The kernel takes a moment.
    tokio::time::sleep(Duration::from_mins(1)).await;
    Ok(())
}

async fn next_line(consoles: &mut [Console]) -> String {
    loop {
        for console in &mut *consoles {
            if let Some(line) = console.line() {
                return line;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A terminal, read without waiting.
struct Console {
    file: File,
    typed: Vec<u8>,
}

impl Console {
    fn open(path: &str) -> Option<Self> {
        let flags = nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK;
        let mut file = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags.bits())
            .open(path)
            .ok()?;
        // A line that is not there can be opened, but not written to.
        file.write_all(b"\r\n").ok()?;
        Some(Self {
            file,
            typed: Vec::new(),
        })
    }

    fn show(&mut self, text: &str) {
        // A line that is full or was pulled: the others go on.
        let _ = self.file.write_all(text.as_bytes());
    }

    fn line(&mut self) -> Option<String> {
        let mut bytes = [0; LINE];
        let count = self.file.read(&mut bytes).unwrap_or(0);
        self.typed.extend_from_slice(&bytes[..count]);
        if self.typed.len() > LINE {
            self.typed.clear();
        }
        let end = self.typed.iter().position(|byte| [b'\n', b'\r'].contains(byte))?;
        let line = String::from_utf8_lossy(&self.typed[..end]).into_owned();
        self.typed.clear();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], wish: Option<Wish>) {
        let mut page = Page::Choices;
        let mut last = None;
        for line in lines {
            (page, last) = page.after(line);
        }
        assert_eq!(last, wish, "{lines:?}");
    }

    #[test]
    fn a_number_chooses() {
        check(&["1"], Some(Wish::Restart));
        check(&[" 4 "], Some(Wish::PowerOff));
    }

    #[test]
    fn everything_is_erased_only_after_the_word() {
        check(&["3"], None);
        check(&["3", "DELETE"], Some(Wish::Reset));
        check(&["3", "delete"], None);
        check(&["3", "", "DELETE"], None);
        check(&["DELETE"], None);
    }

    #[test]
    fn repair_is_confirmed_too() {
        check(&["2", "FIX"], Some(Wish::Repair));
        check(&["2", "fix it"], None);
    }

    #[test]
    fn anything_else_shows_the_choices_again() {
        for line in ["", "sh", "1; sh", "\x03", "12345678901234567890"] {
            assert_eq!(Page::Choices.after(line), (Page::Choices, None), "{line}");
        }
    }

    #[test]
    fn no_page_is_wider_or_higher_than_a_screen_or_steers_it() {
        let why = "bad\x1b[31m superblock ".repeat(40);
        for page in [Page::Choices, Page::ConfirmRepair, Page::ConfirmReset] {
            let text = page.text(&why);
            assert!(text.lines().count() <= 24, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 92), "{text}");
            assert_eq!(text.matches('\x1b').count(), 2, "{text}");
        }
    }
}
