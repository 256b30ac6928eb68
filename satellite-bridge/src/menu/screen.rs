//! The terminal: lines out, choices and keys in.
//!
//! **Invariant:** a wait for a key never blocks the runtime, and an interrupt key only ends the question.

use std::{io, thread};

use console::{Key as Press, Term};
use dialoguer::{Input, Select, theme::SimpleTheme};
use tokio::sync::mpsc;

/// The screen of the menu.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    term: Term,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { term: Term::stdout() }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.term.is_term()
    }

    /// Height in lines.
    pub(super) fn height(&self) -> usize {
        usize::from(self.term.size().0).max(10)
    }

    /// Starts a new page.
    pub(super) fn page(&self, lines: &[String]) -> io::Result<()> {
        self.term.show_cursor()?;
        self.term.clear_screen()?;
        self.lines(lines)
    }

    pub(super) fn lines(&self, lines: &[String]) -> io::Result<()> {
        lines.iter().try_for_each(|line| self.term.write_line(line))
    }

    /// Writes over the last `count` lines.
    pub(super) fn replace(&self, count: usize, lines: &[String]) -> io::Result<()> {
        self.term.clear_last_lines(count)?;
        self.lines(lines)
    }

    /// The index of the chosen item; `None` if the person went back.
    pub(super) async fn choose(&self, prompt: &'static str, items: Vec<String>) -> io::Result<Option<usize>> {
        let term = self.term.clone();
        let ask = move || {
            let select = Select::with_theme(&SimpleTheme)
                .with_prompt(prompt)
                .items(&items)
                .default(0);
            select.interact_on_opt(&term)
        };
        blocking(ask).await.map(Option::flatten)
    }

    /// What the person typed, without what is around it; `None` if they went back.
    pub(super) async fn typed(&self, prompt: String) -> io::Result<Option<String>> {
        let term = self.term.clone();
        let ask = move || {
            let input = Input::<String>::with_theme(&SimpleTheme)
                .with_prompt(prompt)
                .allow_empty(true);
            input.interact_text_on(&term)
        };
        Ok(blocking(ask).await?.map(|text| text.trim().to_owned()))
    }

    /// The keys that are pressed from now on, one at a time.
    pub(super) fn keys(&self, count: usize) -> mpsc::Receiver<Press> {
        let (sender, receiver) = mpsc::channel(1);
        let term = self.term.clone();
        thread::spawn(move || {
            for _ in 0..count {
                let Ok(key) = term.read_key() else { return };
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// Waits for any key.
    pub(super) async fn any_key(&self) -> Option<Press> {
        self.keys(1).recv().await
    }
}

/// Runs a question away from the runtime. An interrupt is a way back; a terminal that is gone is an error.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> dialoguer::Result<T> + Send + 'static,
) -> io::Result<Option<T>> {
    match tokio::task::spawn_blocking(ask).await.map_err(io::Error::other)? {
        Ok(answer) => Ok(Some(answer)),
        Err(dialoguer::Error::IO(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(dialoguer::Error::IO(error)) => Err(error),
    }
}
