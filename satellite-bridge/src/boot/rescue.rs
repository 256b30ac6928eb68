//! The page of a machine whose data cannot be used: says what happened and asks what to do, on the screen and on the
//! serial line. Waits for ever: a machine that restarts by itself tells nobody anything.
//!
//! **Invariant:** input is one line, compared with the few that mean something; nothing of it is run or shown.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use satellite_host::exec::Exec;

use super::BootError;
use super::data::{self, DataError};
use crate::menu::text::{Language, rescue as t};

/// Where somebody may look.
const CONSOLES: [&str; 3] = ["/dev/tty1", "/dev/ttyS0", "/dev/hvc0"];
/// How often they are asked.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the way to this page is open at each start.
const MOMENT: Duration = Duration::from_secs(3);
/// More lines about what happened do not fit on a screen.
const LINES: usize = 8;
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
    NextLanguage,
}

impl Page {
    /// What a line leads to.
    fn after(self, line: &str) -> (Self, Option<Wish>) {
        match (self, line.trim()) {
            (Self::Choices, "1") => (Self::Choices, Some(Wish::Restart)),
            (Self::Choices, "2") => (Self::ConfirmRepair, None),
            (Self::Choices, "3") => (Self::ConfirmReset, None),
            (Self::Choices, "4") => (Self::Choices, Some(Wish::PowerOff)),
            (Self::Choices, "L" | "l") => (Self::Choices, Some(Wish::NextLanguage)),
            (Self::ConfirmRepair, FIX) => (Self::Choices, Some(Wish::Repair)),
            (Self::ConfirmReset, WORD) => (Self::Choices, Some(Wish::Reset)),
            _ => (Self::Choices, None),
        }
    }

    /// The text, with line ends for a terminal that nobody has set up.
    fn text(self, language: Language, why: &str) -> String {
        let say = |text| language.say(text);
        let confirm = |title, what, word| {
            let (title, what) = (say(title), folded(say(what), 2));
            format!(
                "  {title}\n\n{what}\n\n  {} ",
                language.fill(t::TYPE_WORD, &[word])
            )
        };
        let text = match self {
            Self::Choices => {
                let choices = [
                    ("1", t::RESTART),
                    ("2", t::REPAIR),
                    ("3", t::RESET),
                    ("4", t::POWER_OFF),
                    ("L", t::LANGUAGE),
                ];
                let choices: Vec<String> = choices
                    .iter()
                    .map(|(key, text)| format!("  {key}  {}", say(*text)))
                    .collect();
                format!(
                    "  {}\n\n  {}\n\n  {}\n{}\n\n{}\n\n  {} ",
                    say(t::TITLE),
                    say(t::NOT_STARTED),
                    say(t::WHAT_HAPPENED),
                    folded(why, 4),
                    choices.join("\n"),
                    say(t::CHOOSE)
                )
            }
            Self::ConfirmRepair => confirm(t::REPAIR_TITLE, t::REPAIR_WHAT, FIX),
            Self::ConfirmReset => confirm(t::RESET_TITLE, t::RESET_WHAT, WORD),
        };
        // From the top of an empty screen.
        format!("\x1b[2J\x1b[H\n{text}").replace('\n', "\r\n")
    }
}

/// At most 76 characters a line, indented; at most as many lines as leave room for the rest; nothing that steers a
/// terminal.
fn folded(text: &str, indent: usize) -> String {
    let width = 76 - indent;
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut lines = vec![String::new()];
    for word in clean.split_whitespace() {
        let word: String = word.chars().take(width).collect();
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines.truncate(LINES);
    let lines: Vec<String> = lines.iter().map(|line| format!("{:indent$}{line}", "")).collect();
    lines.join("\n")
}

/// The next of the languages.
fn next(language: Language) -> Language {
    let all = Language::ALL;
    all[(language as usize + 1) % all.len()]
}

/// Whether somebody presses R on a console in the moment that there is for it.
pub(super) async fn is_wanted() -> bool {
    let mut consoles: Vec<Console> = CONSOLES.iter().filter_map(|path| Console::open(path)).collect();
    let line = Language::ALL.map(|language| language.say(t::NAME)).join(", ");
    let line = format!("\r\n  Satellite {}\r\n  R: {line}\r\n", env!("CARGO_PKG_VERSION"));
    for console in &mut consoles {
        console.key_by_key(true);
        console.show(&line);
    }
    let start = tokio::time::Instant::now();
    let mut is_wanted = false;
    while !is_wanted && start.elapsed() < MOMENT {
        tokio::time::sleep(PAUSE).await;
        is_wanted = consoles.iter_mut().any(Console::has_r);
    }
    consoles.iter_mut().for_each(|console| console.key_by_key(false));
    is_wanted
}

/// Shows why there is no data and does what somebody chooses. Answers when the data may be tried again.
///
/// # Errors
///
/// [`BootError::NoConsole`] if nobody can be asked.
pub(super) async fn ask(mut error: DataError, disk: &Path) -> Result<(), BootError> {
    tracing::error!(error = %crate::cli::error_chain(&error), "Data cannot be used: waiting for somebody at the console");
    let mut consoles: Vec<Console> = CONSOLES.iter().filter_map(|path| Console::open(path)).collect();
    if consoles.is_empty() {
        return Err(BootError::NoConsole(error));
    }
    let mut language = data::stored_language(disk).await.unwrap_or(Language::English);
    let mut page = Page::Choices;
    loop {
        let shown = page.text(language, &reason(&error, language));
        consoles.iter_mut().for_each(|console| console.show(&shown));
        let line = next_line(&mut consoles).await;
        let (after, wish) = page.after(&line);
        page = after;
        if wish.is_some_and(|wish| wish != Wish::NextLanguage) {
            let working = format!("\r\n\r\n  {}\r\n", language.say(t::WORKING));
            consoles.iter_mut().for_each(|console| console.show(&working));
        }
        let done = match wish {
            None => continue,
            Some(Wish::NextLanguage) => {
                language = next(language);
                continue;
            }
            Some(Wish::Restart) => end("reboot").await,
            Some(Wish::PowerOff) => end("poweroff").await,
            Some(Wish::Repair) => data::repair(disk).await,
            Some(Wish::Reset) => data::erase_all(disk).await,
        };
        match done {
            Ok(()) => return Ok(()),
            Err(failed) => error = failed,
        }
    }
}

/// What happened, for whoever reads the page; then in the words of the programs, for whoever is told it on the telephone.
fn reason(error: &DataError, language: Language) -> String {
    let text = match error {
        DataError::Asked => return language.say(t::ASKED).to_owned(),
        DataError::Table(_) | DataError::Size { .. } | DataError::Partition { .. } => t::TABLE,
        DataError::Damaged(_) => t::DAMAGED,
        DataError::Mount(_) => t::NOT_MOUNTED,
        DataError::Format(_) | DataError::Reset(_) => t::NOT_ERASED,
    };
    format!("{} ({})", language.say(text), crate::cli::error_chain(error))
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

    /// Whether each key is read as it is pressed, and not shown. A terminal that cannot do that is read by lines.
    fn key_by_key(&mut self, is_so: bool) {
        let Ok(mut settings) = tcgetattr(&self.file) else {
            return;
        };
        settings
            .local_flags
            .set(LocalFlags::ICANON | LocalFlags::ECHO, !is_so);
        let _ = tcsetattr(&self.file, SetArg::TCSANOW, &settings);
    }

    /// Whether an R was pressed; what else was, is forgotten.
    fn has_r(&mut self) -> bool {
        let mut bytes = [0; LINE];
        let count = self.file.read(&mut bytes).unwrap_or(0);
        bytes[..count].iter().any(|byte| byte.eq_ignore_ascii_case(&b'r'))
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
    use satellite_host::exec::ExecError;

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
    fn l_goes_through_all_languages() {
        check(&["l"], Some(Wish::NextLanguage));
        let mut language = Language::English;
        let mut shown = Vec::new();
        for _ in Language::ALL {
            shown.push(Page::Choices.text(language, &reason(&DataError::Asked, language)));
            language = next(language);
        }
        assert_eq!(language, Language::English);
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), Language::ALL.len());
    }

    #[test]
    fn no_page_is_wider_or_higher_than_a_screen_or_steers_it() {
        let why = "bad\x1b[31m superblock ".repeat(200);
        for language in Language::ALL {
            for page in [Page::Choices, Page::ConfirmRepair, Page::ConfirmReset] {
                let text = page.text(language, &why);
                assert!(text.lines().count() <= 24, "{text}");
                let text = text.replace("\x1b[2J\x1b[H", "");
                assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
                assert!(!text.contains('\x1b'), "{text}");
            }
        }
    }

    #[test]
    fn every_rescue_page_in_every_language_is_as_its_file_says() {
        let failed = ExecError::Failed {
            program: "e2fsck".to_owned(),
            status: std::os::unix::process::ExitStatusExt::from_raw(8 << 8),
            complaint: "Bad magic number in super-block".to_owned(),
        };
        let damaged = DataError::Damaged(failed);
        let mut wrong = Vec::new();
        for language in Language::ALL {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("src/boot/rescue")
                .join(language.code());
            let (asked, damaged) = (reason(&DataError::Asked, language), reason(&damaged, language));
            for (name, page, why) in [
                ("asked", Page::Choices, asked.as_str()),
                ("damaged", Page::Choices, damaged.as_str()),
                ("repair", Page::ConfirmRepair, ""),
                ("reset", Page::ConfirmReset, ""),
            ] {
                let text = page.text(language, why).replace("\x1b[2J\x1b[H", "");
                let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                let (text, file) = (lines.join("\n") + "\n", directory.join(format!("{name}.txt")));
                if std::env::var_os("UPDATE_SCREENS").is_some() {
                    satellite_host::files::create_dir(&directory, 0o755).unwrap();
                    satellite_host::files::write_atomic(&file, text.as_bytes(), 0o644).unwrap();
                }
                if std::fs::read_to_string(&file).unwrap_or_default() != text {
                    wrong.push(format!("{}:\n{text}", file.display()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
