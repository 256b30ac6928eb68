//! The menu driven by keys, on a fake service manager: what is done, and what is not done.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use satellite_host::systemd::FakeUnits;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

/// What was written to the screen since the last key.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Person {
    keys: mpsc::Sender<Vec<u8>>,
    written: Written,
    units: Arc<FakeUnits>,
    config: Config,
    menu: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Person {
    async fn at_a_satellite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: dir.path().join("lib/satellite"),
            run_dir: dir.path().join("run"),
            data_dir: dir.path().to_owned(),
            ..Config::default()
        };
        files::create_dir(&config.state_dir, 0o700).unwrap();
        files::create_dir(&config.run_dir, 0o700).unwrap();
        let (keys, input) = mpsc::channel(16);
        let written = Written::default();
        let units = Arc::new(FakeUnits::new());
        let screen = Screen::of_test(input, Box::new(written.clone()));
        let mut menu = Menu::new(&config, screen, units.clone());
        let menu = tokio::spawn(async move { while !matches!(menu.turn().await, Err(Stop::Terminal(_))) {} });
        let person = Self {
            keys,
            written,
            units,
            config,
            menu,
            _dir: dir,
        };
        person.sees("Enter: menu").await;
        person
    }

    async fn presses(&self, keys: &str) {
        self.written.0.lock().unwrap().clear();
        self.keys.send(keys.as_bytes().to_vec()).await.unwrap();
    }

    async fn sees(&self, text: &str) {
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            let shown = String::from_utf8_lossy(&self.written.0.lock().unwrap()).into_owned();
            if shown.contains(text) {
                return;
            }
            assert!(Instant::now() < give_up, "`{text}` is not in {shown:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Opens the entry in front of which this character stands.
    async fn opens(&self, mark: char) {
        self.presses("\r").await;
        self.sees("Shut down").await;
        self.presses(&format!("{mark}\r")).await;
    }

    async fn goes_home(&self) {
        self.presses("\x1b").await;
        self.sees("Enter: menu").await;
    }

    async fn leaves(self) {
        drop(self.keys);
        self.menu.await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_is_asked_for_and_no_is_the_first_answer() {
    let person = Person::at_a_satellite().await;
    person.opens('d').await;
    person.sees("Restart the machine now?").await;
    person.presses("\r").await;
    person.sees("Shut down").await;
    assert!(person.units.calls().is_empty(), "{:?}", person.units.calls());
    person.presses("\r").await;
    person.sees("Restart the machine now?").await;
    person.presses("\x1b[B\r").await;
    person.sees("The machine goes down").await;
    assert_eq!(person.units.calls().len(), 1, "{:?}", person.units.calls());
    person.leaves().await;
}

#[tokio::test]
async fn a_factory_reset_needs_its_word_and_is_recorded_before_the_restart() {
    let person = Person::at_a_satellite().await;
    person.opens('c').await;
    person.sees("ALL BACKUPS STORED ON THIS SATELLITE").await;
    person.presses("RESET\r").await;
    person.sees("Nothing was changed").await;
    assert!(!crate::reset::is_requested(&person.config));
    person.presses(" ").await;
    person.sees("Shut down").await;
    person.presses("\r").await;
    person.sees("type DELETE").await;
    person.presses("delete\r").await;
    person.sees("is erased while it starts").await;
    assert!(crate::reset::is_requested(&person.config));
    assert_eq!(person.units.calls().len(), 1, "{:?}", person.units.calls());
    person.leaves().await;
}

#[tokio::test]
async fn what_was_typed_before_a_question_was_seen_does_not_answer_it() {
    let person = Person::at_a_satellite().await;
    // All in one piece, as a paste comes.
    person.presses("\rc\rDELETE\r").await;
    person.sees("type DELETE").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!crate::reset::is_requested(&person.config));
    person.leaves().await;
}

#[tokio::test]
async fn a_satellite_without_a_server_has_nothing_to_disconnect() {
    let person = Person::at_a_satellite().await;
    person.opens('b').await;
    person.sees("type DISCONNECT").await;
    person.presses("DISCONNECT\r").await;
    person.sees("not connected to a server").await;
    person.presses(" ").await;
    person.sees("Shut down").await;
    person.goes_home().await;
    person.leaves().await;
}

#[tokio::test]
async fn language_and_keyboard_are_stored_and_the_layout_is_loaded() {
    let person = Person::at_a_satellite().await;
    person.presses("l").await;
    person.sees("Keyboard").await;
    person.presses("\x1b[C").await;
    person.sees("Tastatur").await;
    person.presses("\t\t\r").await;
    person.sees("Enter: Menü").await;
    assert_eq!(settings::language(&person.config), Language::German);
    let layout = crate::keyboard::stored(&person.config.state_dir);
    assert_eq!(layout, crate::keyboard::Layout::German);
    let calls = person.units.calls();
    assert!(
        calls
            .iter()
            .any(|call| call.contains("satellite-keyboard.service")),
        "{calls:?}"
    );
    person.leaves().await;
}
