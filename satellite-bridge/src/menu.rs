//! The console menu: what a person at the machine can see and do, also when the daemon does not run.
//!
//! Pages are made by pure functions (`page`, `dialog`, `form`, `home`, `pager`); the files that are named after
//! entries of the menu ask, act, and show what came of it.
//!
//! **Invariant:** nothing here leaves to a shell: interrupt, quit and suspend keys do nothing, no other program gets the
//! terminal, and what goes wrong is shown and leads back to the menu.

pub mod client;

mod ask;
mod check;
mod clock;
mod connect;
mod danger;
mod dialog;
mod form;
mod home;
mod keys;
mod logs;
mod network;
mod overview;
mod page;
mod pager;
mod pin;
mod qr;
mod screen;
#[cfg(test)]
mod screens;
mod settings;
mod support;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::{io, sync::Arc, time::Duration};

use jiff::Timestamp;
use satellite_host::{
    files,
    systemd::{SystemUnits, Units},
};
use satellite_proto::wire::bridge::v1::PairingState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    client::Console,
    dialog::List,
    keys::Press,
    overview::Overview,
    pin::Pin,
    screen::{Raw, Screen},
    text::{Language, Text, common as t},
};
use crate::config::Config;

/// How often the status page looks anew.
const REFRESH: Duration = Duration::from_secs(2);
/// After so long without a key the menu goes back to the status page, and asks for the PIN again.
const IDLE: Duration = Duration::from_secs(600);
/// SIGTSTP on Linux.
const SUSPEND: i32 = 20;

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

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Connect,
    Network,
    Check,
    Logs,
    Support,
    Clock,
    Language,
    Pin,
    Restore,
    Firewall,
    Disconnect,
    Factory,
    Reboot,
    ShutDown,
}

impl Entry {
    /// As they stand in the menu: what a person needs first, what they may regret last.
    const ALL: [Self; 14] = [
        Self::Connect,
        Self::Network,
        Self::Check,
        Self::Logs,
        Self::Support,
        Self::Clock,
        Self::Language,
        Self::Pin,
        Self::Restore,
        Self::Firewall,
        Self::Disconnect,
        Self::Factory,
        Self::Reboot,
        Self::ShutDown,
    ];

    fn name(self) -> Text {
        match self {
            Self::Connect => t::CONNECT,
            Self::Network => t::NETWORK,
            Self::Check => t::CHECK,
            Self::Restore => t::RESTORE,
            Self::Logs => t::LOGS,
            Self::Support => t::SUPPORT,
            Self::Clock => t::CLOCK,
            Self::Language => t::LANGUAGE,
            Self::Pin => t::PIN,
            Self::Firewall => t::FIREWALL,
            Self::Disconnect => t::DISCONNECT,
            Self::Factory => t::FACTORY,
            Self::Reboot => t::REBOOT,
            Self::ShutDown => t::SHUT_DOWN,
        }
    }
}

/// Why a page is left other than by its keys.
enum Stop {
    /// The terminal is gone.
    Terminal(io::Error),
    /// Nobody is there.
    Idle,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

type Flow<T = ()> = Result<T, Stop>;

/// Shows the menu until its terminal is gone.
///
/// # Errors
///
/// [`MenuError`].
pub async fn run(config: &Config) -> Result<(), MenuError> {
    if !console::Term::stdout().is_term() {
        return Err(MenuError::NoTerminal);
    }
    let _ignored = ignore_keys().map_err(MenuError::Terminal)?;
    let _raw = Raw::new().map_err(MenuError::Terminal)?;
    let mut menu = Menu::new(config, Screen::of_terminal(), Arc::new(SystemUnits::new()));
    loop {
        match menu.turn().await {
            Ok(()) | Err(Stop::Idle) => {}
            Err(Stop::Terminal(error)) => return Err(MenuError::Terminal(error)),
        }
    }
}

/// From here on these keys only wake a listener, should the terminal ever make signals of them.
fn ignore_keys() -> io::Result<Vec<Signal>> {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::from_raw(SUSPEND),
    ];
    kinds.into_iter().map(signal).collect()
}

struct Menu {
    config: Config,
    screen: Screen,
    language: Language,
    units: Arc<dyn Units>,
    pin: Pin,
    /// The PIN was right, or there is none.
    is_unlocked: bool,
    /// A code was shown unasked once.
    has_opened_window: bool,
}

impl Menu {
    fn new(config: &Config, screen: Screen, units: Arc<dyn Units>) -> Self {
        Self {
            language: settings::language(config),
            pin: Pin::new(config),
            config: config.clone(),
            screen,
            units,
            is_unlocked: false,
            has_opened_window: false,
        }
    }

    /// The status page until a key is pressed, and what the key leads to.
    async fn turn(&mut self) -> Flow {
        self.is_unlocked = false;
        let mut overview = Overview::of_machine(&self.config);
        let mut pause = Duration::ZERO;
        let press = loop {
            let clock = Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
            self.screen.show(&home::page(self.language, &overview, &clock))?;
            let config = &self.config;
            let look = async {
                tokio::time::sleep(pause).await;
                Overview::load(config).await
            };
            tokio::select! {
                press = self.screen.press() => break press?,
                fresh = look => overview = fresh,
            }
            pause = REFRESH;
            self.offer_code(&overview).await;
        };
        match press {
            Press::Enter | Press::Right | Press::Char(' ') => self.menu().await,
            Press::Char('l' | 'L') => self.choose_language().await,
            _ => Ok(()),
        }
    }

    /// A satellite that belongs to nobody shows a code by itself, once after each start: nobody has to look for it.
    async fn offer_code(&mut self, overview: &Overview) {
        if self.has_opened_window || !overview.daemon_answers || overview.pairing != PairingState::Unpaired {
            return;
        }
        self.has_opened_window = true;
        let marker = self.config.run_dir.join("console-offered");
        if marker.exists() || files::write_atomic(&marker, b"", 0o600).is_err() {
            return;
        }
        let opened = async {
            Console::connect(&self.config.console_socket())
                .await?
                .open_window()
                .await
        };
        if let Err(error) = opened.await {
            tracing::warn!(error = %crate::cli::error_chain(&error), "No code offered");
        }
    }

    async fn menu(&mut self) -> Flow {
        if !self.unlock().await? {
            return Ok(());
        }
        let mut mark = 0;
        loop {
            let Some(chosen) = self.choose(main_menu(self.language).at(mark)).await? else {
                return Ok(());
            };
            mark = chosen;
            match Entry::ALL.get(chosen) {
                Some(Entry::Connect) if self.connect().await? => return Ok(()),
                Some(Entry::Connect) | None => {}
                Some(Entry::Network) => self.change_network().await?,
                Some(Entry::Check) => self.test_connection().await?,
                Some(Entry::Restore) => self.restore_last_good().await?,
                Some(Entry::Logs) => self.show_logs().await?,
                Some(Entry::Support) => self.write_support_bundle().await?,
                Some(Entry::Clock) => self.set_clock().await?,
                Some(Entry::Language) => self.choose_language().await?,
                Some(Entry::Pin) => self.change_pin().await?,
                Some(Entry::Firewall) => self.reset_firewall().await?,
                Some(Entry::Disconnect) => self.disconnect().await?,
                Some(Entry::Factory) => self.factory_reset().await?,
                Some(Entry::Reboot) => self.reboot().await?,
                Some(Entry::ShutDown) => self.shut_down().await?,
            }
        }
    }

    fn say(&self, text: Text) -> &'static str {
        self.language.say(text)
    }
}

/// The main menu.
fn main_menu(language: Language) -> List {
    let names = Entry::ALL
        .iter()
        .map(|entry| language.say(entry.name()).to_owned());
    List::new(language.say(t::MENU), names.collect())
}
