//! The console menu: what a person at the machine can see and do, also when the daemon does not run.
//!
//! **Invariant:** nothing here leaves to a shell: interrupt, quit and suspend keys do nothing, and what goes wrong is
//! shown and leads back to the menu.

pub mod client;
mod page;
mod screen;
mod text;

use std::{io, time::Duration};

use console::Key as Press;
use jiff::Timestamp;
use satellite_host::{
    files,
    systemd::{SystemUnits, Units},
};
use satellite_proto::wire::bridge::v1::{GetConsoleResponse, PairingState};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    client::{ClientError, Console},
    page::{code_line, details, fit, header, window_line},
    screen::Screen,
    text::{Key, Language},
};
use crate::{cli::error_chain, config::Config, firewall};

/// Keys of the terminal that would end or stop a program: interrupt, quit, suspend.
const KEYS_THAT_DO_NOTHING: [SignalKind; 2] = [SignalKind::interrupt(), SignalKind::quit()];
/// SIGTSTP on Linux.
const SUSPEND: i32 = 20;
/// Lines of a log that are fetched.
const LOG_LINES: u64 = 500;

/// Why the menu ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MenuError {
    /// Nobody can see it.
    #[error("the menu needs a terminal: it is meant for the satellite's console")]
    NoTerminal,
    /// The terminal is gone.
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Connect,
    Status,
    Logs,
    Firewall,
    Disconnect,
    Language,
    Reboot,
    ShutDown,
    Refresh,
}

/// Shows the menu until its terminal is gone.
///
/// # Errors
///
/// [`MenuError`].
pub async fn run(config: &Config) -> Result<(), MenuError> {
    let screen = Screen::new();
    if !screen.is_terminal() {
        return Err(MenuError::NoTerminal);
    }
    let _ignored = ignore_keys().map_err(MenuError::Terminal)?;
    let language_file = config.state_dir.join("language");
    let chosen = std::fs::read_to_string(language_file).ok();
    let language = chosen
        .and_then(|code| Language::from_code(&code))
        .unwrap_or(Language::English);
    let mut menu = Menu {
        config: config.clone(),
        screen,
        language,
    };
    loop {
        menu.turn().await.map_err(MenuError::Terminal)?;
    }
}

/// From here on these keys only wake a listener. Suspending has no effect either.
fn ignore_keys() -> io::Result<Vec<Signal>> {
    let kinds = KEYS_THAT_DO_NOTHING
        .into_iter()
        .chain([SignalKind::from_raw(SUSPEND)]);
    kinds.map(signal).collect()
}

struct Menu {
    config: Config,
    screen: Screen,
    language: Language,
}

impl Menu {
    async fn turn(&mut self) -> io::Result<()> {
        let answer = self.status().await;
        self.screen.page(&header(self.language, answer.as_ref()))?;
        let is_paired = answer
            .as_ref()
            .is_some_and(|answer| answer.pairing() == PairingState::Paired);
        let first = if is_paired { Entry::Status } else { Entry::Connect };
        let mut entries = vec![
            first,
            Entry::Status,
            Entry::Logs,
            Entry::Firewall,
            Entry::Disconnect,
        ];
        entries.extend([Entry::Language, Entry::Reboot, Entry::ShutDown, Entry::Refresh]);
        entries.dedup();
        let names = entries
            .iter()
            .map(|entry| self.say(name_of(*entry)).to_owned())
            .collect();
        let Some(index) = self.screen.choose(self.say(Key::Choose), names).await? else {
            return Ok(());
        };
        let done = match entries.get(index) {
            Some(Entry::Connect) => self.connect().await,
            Some(Entry::Status) => self.show_status().await,
            Some(Entry::Logs) => self.show_logs().await,
            Some(Entry::Firewall) => self.reset_firewall().await,
            Some(Entry::Disconnect) => self.disconnect().await,
            Some(Entry::Language) => self.choose_language().await,
            Some(Entry::Reboot) => self.end(Key::ConfirmReboot).await,
            Some(Entry::ShutDown) => self.end(Key::ConfirmShutDown).await,
            Some(Entry::Refresh) | None => Ok(()),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Trouble::Terminal(error)) => Err(error),
            Err(Trouble::Told(message)) => {
                self.screen
                    .lines(&[String::new(), self.say(Key::Failed).to_owned(), fit(&message)])?;
                self.wait().await
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Trouble> {
        let mut console = self.console().await?;
        let mut window = console.open_window().await?;
        let (hint, close) = (
            self.say(Key::CodeHint).to_owned(),
            self.say(Key::Close).to_owned(),
        );
        self.screen
            .page(&[hint, String::new(), code_line(&window), String::new()])?;
        let mut shown = window_line(self.language, &window, now());
        self.screen.lines(&[shown.clone(), close.clone()])?;
        let mut keys = self.screen.keys(1);
        let answer = loop {
            tokio::select! {
                _ = keys.recv() => {
                    console.close_window().await?;
                    return Ok(());
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            let answer = console.status().await?;
            match &answer.window {
                Some(open) => window = open.clone(),
                None => break answer,
            }
            let line = window_line(self.language, &window, now());
            if line != shown {
                self.screen.replace(2, &[line.clone(), close.clone()])?;
                shown = line;
            }
        };
        // The code is dead: it need not stay on the screen.
        self.screen.page(&header(self.language, Some(&answer)))?;
        if answer.pairing() == PairingState::Unpaired {
            self.screen.lines(&[self.say(Key::WindowClosed).to_owned()])?;
        }
        self.screen.lines(&[self.say(Key::GoOn).to_owned()])?;
        keys.recv().await;
        Ok(())
    }

    async fn show_status(&mut self) -> Result<(), Trouble> {
        let answer = self.console().await?.status().await?;
        self.screen.page(&details(self.language, &answer))?;
        Ok(self.wait().await?)
    }

    async fn show_logs(&mut self) -> Result<(), Trouble> {
        let mut console = self.console().await?;
        let sources = console.log_sources().await?;
        let mut names: Vec<_> = sources.iter().map(|source| fit(&source.name)).collect();
        names.push(self.say(Key::Back).to_owned());
        let chosen = self.screen.choose(self.say(Key::Logs), names).await?;
        let Some(source) = chosen.and_then(|index| sources.get(index)) else {
            return Ok(());
        };
        let text = console.log_tail(&source.name, LOG_LINES).await?;
        let lines: Vec<_> = text.lines().map(fit).collect();
        for page in lines.chunks(self.screen.height() - 2) {
            self.screen.page(page)?;
            self.screen.lines(&[self.say(Key::More).to_owned()])?;
            let key = self.screen.any_key().await;
            if matches!(key, None | Some(Press::Escape | Press::Char('q' | 'Q'))) {
                break;
            }
        }
        Ok(())
    }

    async fn reset_firewall(&mut self) -> Result<(), Trouble> {
        if !self.typed_word(Key::FirewallHint, "RESET").await? {
            return Ok(());
        }
        match self.console().await {
            Ok(mut console) => console.reset_firewall().await?,
            // Without the daemon nobody else changes the rules.
            Err(_) => {
                let settings = self.config.firewall(self.config.listen.port());
                let reset = firewall::reset_from_disk(&settings).await;
                reset.map_err(|error| Trouble::Told(error_chain(&error)))?;
            }
        }
        Ok(self.done().await?)
    }

    async fn disconnect(&mut self) -> Result<(), Trouble> {
        if !self.typed_word(Key::DisconnectHint, "DISCONNECT").await? {
            return Ok(());
        }
        self.console().await?.disconnect().await?;
        Ok(self.done().await?)
    }

    async fn choose_language(&mut self) -> Result<(), Trouble> {
        let names = Language::ALL
            .iter()
            .map(|language| language.name().to_owned())
            .collect();
        let chosen = self.screen.choose(self.say(Key::Language), names).await?;
        let Some(language) = chosen.and_then(|index| Language::ALL.get(index)) else {
            return Ok(());
        };
        self.language = *language;
        let file = self.config.state_dir.join("language");
        let kept = files::write_atomic(&file, language.code().as_bytes(), 0o644);
        kept.map_err(|error| Trouble::Told(error_chain(&error)))
    }

    /// Restarts or stops the machine by the service manager itself, so that it works without the daemon.
    async fn end(&mut self, question: Key) -> Result<(), Trouble> {
        let answers = vec![self.say(Key::No).to_owned(), self.say(Key::Yes).to_owned()];
        if self.screen.choose(self.say(question), answers).await? != Some(1) {
            return Ok(());
        }
        let units = SystemUnits::new();
        let ended = match question {
            Key::ConfirmShutDown => units.power_off().await,
            _ => units.reboot().await,
        };
        ended.map_err(|error| Trouble::Told(error_chain(&error)))?;
        Ok(self.done().await?)
    }

    /// Whether the person typed `word`, which shows that they mean it.
    async fn typed_word(&self, hint: Key, word: &str) -> io::Result<bool> {
        self.screen.lines(&[self.say(hint).to_owned()])?;
        let typed = self
            .screen
            .typed(format!("{} ({word})", self.say(Key::TypeWord)))
            .await?;
        let is_meant = typed.is_some_and(|typed| typed == word);
        if !is_meant {
            self.screen.lines(&[self.say(Key::NotChanged).to_owned()])?;
            self.wait().await?;
        }
        Ok(is_meant)
    }

    async fn status(&self) -> Option<GetConsoleResponse> {
        self.console().await.ok()?.status().await.ok()
    }

    async fn console(&self) -> Result<Console, ClientError> {
        Console::connect(&self.config.console_socket()).await
    }

    async fn done(&self) -> io::Result<()> {
        self.screen.lines(&[self.say(Key::Done).to_owned()])?;
        self.wait().await
    }

    async fn wait(&self) -> io::Result<()> {
        self.screen.lines(&[self.say(Key::GoOn).to_owned()])?;
        self.screen.any_key().await;
        Ok(())
    }

    fn say(&self, key: Key) -> &'static str {
        self.language.say(key)
    }
}

/// Why an entry did not do what it is for.
enum Trouble {
    /// To be shown.
    Told(String),
    /// Nothing can be shown.
    Terminal(io::Error),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Self::Told(error.to_string())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

fn name_of(entry: Entry) -> Key {
    match entry {
        Entry::Connect => Key::Connect,
        Entry::Status => Key::Status,
        Entry::Logs => Key::Logs,
        Entry::Firewall => Key::FirewallReset,
        Entry::Disconnect => Key::Disconnect,
        Entry::Language => Key::Language,
        Entry::Reboot => Key::Reboot,
        Entry::ShutDown => Key::ShutDown,
        Entry::Refresh => Key::Refresh,
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}
