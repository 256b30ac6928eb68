//! The terminal: frames out, key presses in.
//!
//! **Invariant:** the terminal makes no signals of keys while the menu has it, and only what changed is written, so that
//! nothing flickers.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write},
    os::fd::AsFd as _,
    thread,
    time::Duration,
};

use nix::sys::termios::{self, SetArg, Termios};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{
    keys::{Decoder, Press},
    page::{Frame, HEIGHT, Line, Page, Style, WIDTH},
};

/// Bytes of a key come within this time, also on a slow serial line.
const SEQUENCE: Duration = Duration::from_millis(150);
/// Pieces of input that wait; the terminal holds the rest.
const QUEUE: usize = 16;
/// After this many frames all lines are written again: the kernel may have written over them.
const REPAINT: u32 = 30;

/// Where frames go and bytes come from.
pub(super) struct Screen {
    input: mpsc::Receiver<Vec<u8>>,
    pending: std::vec::IntoIter<u8>,
    decoder: Decoder,
    out: Box<dyn Write + Send + Sync>,
    size: fn() -> (usize, usize),
    shown: Vec<Line>,
    shown_size: (usize, usize),
    frames: u32,
    last_press: Instant,
}

/// The terminal as it was; put back when dropped.
#[derive(Debug)]
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    /// Takes the terminal: no echo, no lines, no signals.
    pub(super) fn new() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.before);
        let _ = io::stdout().write_all(b"\x1b[0m\x1b[?25h\x1b[?7h\x1b[2J\x1b[H");
    }
}

impl Screen {
    /// The terminal of this process.
    pub(super) fn of_terminal() -> Self {
        Self::new(read_stdin(), Box::new(io::stdout()), || {
            let (height, width) = console::Term::stdout().size();
            (usize::from(width), usize::from(height))
        })
    }

    fn new(
        input: mpsc::Receiver<Vec<u8>>,
        out: Box<dyn Write + Send + Sync>,
        size: fn() -> (usize, usize),
    ) -> Self {
        Self {
            input,
            pending: Vec::new().into_iter(),
            decoder: Decoder::default(),
            out,
            size,
            shown: Vec::new(),
            shown_size: (0, 0),
            frames: 0,
            last_press: Instant::now(),
        }
    }

    /// A screen of 80 × 24 without a terminal.
    #[cfg(test)]
    pub(super) fn of_test(input: mpsc::Receiver<Vec<u8>>, out: Box<dyn Write + Send + Sync>) -> Self {
        Self::new(input, out, || (WIDTH, HEIGHT))
    }

    /// Width and height, never less than what pages are made for: a smaller terminal shows the upper left of it.
    pub(super) fn size(&self) -> (usize, usize) {
        let (width, height) = (self.size)();
        (width.max(WIDTH), height.max(HEIGHT))
    }

    /// How long nobody pressed a key.
    pub(super) fn quiet_for(&self) -> Duration {
        self.last_press.elapsed()
    }

    /// Shows a page.
    pub(super) fn show(&mut self, page: &Page) -> io::Result<()> {
        let real = (self.size)();
        let (width, height) = self.size();
        let frame = page.frame(width, height);
        if real != self.shown_size {
            self.shown.clear();
            self.shown_size = real;
        }
        self.frames = self.frames.wrapping_add(1);
        let all = self.shown.len() != frame.lines.len() || self.frames.is_multiple_of(REPAINT);
        let text = paint(&frame, if all { &[] } else { &self.shown }, real);
        self.shown = frame.lines;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// The next key, however long it takes.
    pub(super) async fn press(&mut self) -> io::Result<Press> {
        loop {
            if let Some(press) = self.press_until(None).await? {
                return Ok(press);
            }
        }
    }

    /// The next key, if one comes in time.
    ///
    /// # Cancel safety
    ///
    /// No byte is lost.
    pub(super) async fn press_within(&mut self, wait: Duration) -> io::Result<Option<Press>> {
        self.press_until(Some(Instant::now() + wait)).await
    }

    async fn press_until(&mut self, deadline: Option<Instant>) -> io::Result<Option<Press>> {
        loop {
            let decoder = &mut self.decoder;
            if let Some(press) = self.pending.find_map(|byte| decoder.feed(byte)) {
                self.last_press = Instant::now();
                if press == Press::Redraw {
                    self.shown.clear();
                    continue;
                }
                return Ok(Some(press));
            }
            let more = if self.decoder.is_waiting() {
                match timeout(SEQUENCE, self.input.recv()).await {
                    Ok(more) => more,
                    Err(_) => match self.decoder.idle() {
                        Some(press) => {
                            self.last_press = Instant::now();
                            return Ok(Some(press));
                        }
                        None => continue,
                    },
                }
            } else if let Some(deadline) = deadline {
                match timeout_at(deadline, self.input.recv()).await {
                    Ok(more) => more,
                    Err(_) => return Ok(None),
                }
            } else {
                self.input.recv().await
            };
            let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone");
            self.pending = more.ok_or_else(gone)?.into_iter();
        }
    }

    /// Forgets what was typed before a question was seen.
    pub(super) fn forget_typed(&mut self) {
        while self.input.try_recv().is_ok() {}
        self.pending = Vec::new().into_iter();
        self.decoder = Decoder::default();
    }
}

/// What turns a screen that shows `before` into `frame`; the terminal may be smaller than the frame.
fn paint(frame: &Frame, before: &[Line], (width, height): (usize, usize)) -> String {
    let mut text = String::new();
    // Without wrapping: a terminal that is too narrow cuts.
    text.push_str("\x1b[?25l\x1b[?7l");
    if before.is_empty() {
        text.push_str("\x1b[0m");
    }
    let (width, height) = (
        if width == 0 { WIDTH } else { width },
        if height == 0 { HEIGHT } else { height },
    );
    for (index, line) in frame.lines.iter().enumerate().take(height) {
        if before.get(index) == Some(line) {
            continue;
        }
        let style = match line.style {
            Style::Plain => "",
            Style::Strong | Style::Warning => "\x1b[1m",
            Style::Marked => "\x1b[7m",
        };
        // Writing to a string does not fail.
        let _ = write!(text, "\x1b[{};1H{style}{}\x1b[0m\x1b[K", index + 1, line.text);
    }
    if let Some((line, column)) = frame.cursor {
        let (line, column) = (line.min(height - 1), column.min(width - 1));
        let _ = write!(text, "\x1b[{};{}H\x1b[?25h", line + 1, column + 1);
    }
    text
}

/// Reads the terminal away from the runtime.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = [0; 256];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    if sender.blocking_send(bytes).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> (mpsc::Sender<Vec<u8>>, Screen) {
        let (keys, input) = mpsc::channel(QUEUE);
        (keys, Screen::of_test(input, Box::new(io::sink())))
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut page = Page::new("title", "foot");
        page.line("same", Style::Plain);
        page.line("one", Style::Plain);
        let before = page.frame(WIDTH, HEIGHT);
        page.lines[1].text = "two".to_owned();
        let text = paint(&page.frame(WIDTH, HEIGHT), &before.lines, (WIDTH, HEIGHT));
        assert!(
            text.contains("two") && !text.contains("same") && !text.contains("title"),
            "{text:?}"
        );
        assert!(!text.contains("\x1b[2J"));
    }

    #[test]
    fn a_terminal_that_is_too_small_gets_no_line_below_its_end() {
        let page = Page::new("title", "foot");
        let text = paint(&page.frame(WIDTH, HEIGHT), &[], (40, 10));
        assert!(
            text.contains("\x1b[10;1H") && !text.contains("\x1b[11;1H"),
            "{text:?}"
        );
    }

    #[tokio::test]
    async fn a_lone_escape_is_a_key_after_a_moment_and_part_of_a_sequence_before() {
        let (keys, mut screen) = screen();
        keys.send(b"\x1b".to_vec()).await.unwrap();
        keys.send(b"[A".to_vec()).await.unwrap();
        keys.send(b"\x1b".to_vec()).await.unwrap();
        assert_eq!(screen.press().await.unwrap(), Press::Up);
        assert_eq!(screen.press().await.unwrap(), Press::Escape);
    }

    #[tokio::test]
    async fn a_wait_ends_in_time_and_a_terminal_that_is_gone_is_an_error() {
        let (keys, mut screen) = screen();
        assert_eq!(screen.press_within(Duration::from_secs(2)).await.unwrap(), None);
        drop(keys);
        assert!(screen.press().await.is_err());
    }
}
