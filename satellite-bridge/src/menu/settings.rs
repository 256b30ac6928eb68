//! Language, keyboard, and the console's PIN.
//!
//! **Invariant:** what cannot be stored holds until the menu is started again, and the person is told so.

use std::time::Duration;

use satellite_host::files;

use super::{
    Flow, Menu,
    form::{Field, Form},
    page::Style,
    pin::{self, Gate},
    text::{Language, common as c, tools as t},
};
use crate::{
    cli::error_chain,
    config::Config,
    keyboard::{self, Layout},
};

/// Loads the keyboard layout that is stored.
const KEYBOARD_UNIT: &str = "satellite-keyboard.service";
/// How long it may take.
const LOADING: Duration = Duration::from_secs(10);

/// The language that was chosen, or English.
pub(super) fn language(config: &Config) -> Language {
    let chosen = files::read(&config.state_dir.join("language"), 64).ok().flatten();
    chosen
        .and_then(|code| Language::from_code(&String::from_utf8_lossy(&code)))
        .unwrap_or(Language::English)
}

/// Languages, each by its own name, and keyboards.
pub(super) fn language_form(language: Language, layout: Layout) -> Form {
    let languages = Language::ALL.iter().map(|one| one.name().to_owned()).collect();
    let layouts = Layout::ALL.iter().map(|one| one.name().to_owned()).collect();
    let fields = vec![
        Field::choice(t::LANGUAGE, t::LANGUAGE_HINT, languages, language as usize),
        Field::choice(t::KEYBOARD, t::KEYBOARD_HINT, layouts, layout as usize),
    ];
    Form::new(language.say(c::LANGUAGE), fields, c::ACCEPT)
}

/// The keyboard that most who read a language have; another one can be chosen after it.
fn usual(language: Language) -> Layout {
    match language {
        Language::English => Layout::UnitedStates,
        Language::German => Layout::German,
        Language::French => Layout::French,
        Language::Italian => Layout::Italian,
    }
}

impl Menu {
    pub(super) async fn choose_language(&mut self) -> Flow {
        let before = (self.language, keyboard::stored(&self.config.state_dir));
        let mut form = language_form(before.0, before.1);
        let mut last = before.0;
        loop {
            let press = self.press_on(&form.page(last)).await?;
            match form.press(press) {
                super::dialog::Meant::Back => return Ok(()),
                super::dialog::Meant::Done(()) => break,
                super::dialog::Meant::Stay => {}
            }
            let [language, layout] = form.fields.as_mut_slice() else {
                return Ok(());
            };
            let chosen = Language::ALL.get(language.chosen()).copied().unwrap_or(last);
            if chosen != last {
                // The page changes with the choice, and so does the keyboard, until that is chosen by itself.
                last = chosen;
                layout.choose(usual(chosen) as usize);
                form.retitle(chosen.say(c::LANGUAGE));
            }
        }
        let layout = form.fields.get(1).map_or(0, Field::chosen);
        self.language = last;
        self.store_language(Layout::ALL.get(layout).copied().unwrap_or(before.1))
            .await
    }

    async fn store_language(&mut self, layout: Layout) -> Flow {
        let file = self.config.state_dir.join("language");
        let stored = files::write_atomic(&file, self.language.code().as_bytes(), 0o644)
            .and_then(|()| keyboard::store(&self.config.state_dir, layout));
        if stored.is_err() {
            return self.tell(c::LANGUAGE, &[c::NOT_STORED]).await;
        }
        self.working(c::LANGUAGE, c::WAIT)?;
        // Nothing is started twice: stopped first, it runs again.
        let loaded = async {
            self.units.stop(KEYBOARD_UNIT, LOADING).await?;
            self.units.start(KEYBOARD_UNIT, LOADING).await
        };
        if let Err(error) = loaded.await {
            tracing::warn!(error = %error_chain(&error), "Keyboard layout not loaded");
            self.tell(c::LANGUAGE, &[t::KEYBOARD_FAILED]).await?;
        }
        Ok(())
    }

    /// Whether the menu may be seen.
    pub(super) async fn unlock(&mut self) -> Flow<bool> {
        while !self.is_unlocked {
            match self.pin.gate() {
                Gate::Open => self.is_unlocked = true,
                Gate::Closed => {
                    if !self.ask_pin().await? {
                        return Ok(false);
                    }
                }
                Gate::Wait(left) => {
                    let wait = self.language.fill(t::PIN_WAIT, &[&left.as_secs().to_string()]);
                    let texts = [wait, self.say(t::PIN_FORGOTTEN).to_owned()];
                    self.tell_lines(t::PIN_ASK, &texts, Style::Warning).await?;
                    return Ok(false);
                }
                Gate::Damaged => {
                    self.tell(t::PIN_ASK, &[t::PIN_DAMAGED, t::PIN_FORGOTTEN]).await?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn ask_pin(&mut self) -> Flow<bool> {
        let mut form = pin_form(self.language);
        if !self.fill(&mut form, |_| {}).await? {
            return Ok(false);
        }
        let typed = form.value(0).to_owned();
        if self.pin.is_right(&typed) {
            self.is_unlocked = true;
            return Ok(true);
        }
        self.tell(t::PIN_ASK, &[t::PIN_WRONG]).await?;
        // The next try, or the wait that it cost.
        Ok(true)
    }

    pub(super) async fn change_pin(&mut self) -> Flow {
        let mut form = new_pin_form(self.language);
        let language = self.language;
        if !self.fill(&mut form, |form| check_pins(language, form)).await? {
            return Ok(());
        }
        let (done, text) = if form.value(0).is_empty() {
            (self.pin.remove(), t::PIN_REMOVED)
        } else {
            (self.pin.set(form.value(0)), t::PIN_SET)
        };
        self.told(c::PIN, done.map_err(|error| error_chain(&error)), text)
            .await
    }
}

pub(super) fn pin_form(language: Language) -> Form {
    let field = Field::secret(t::PIN_ASK, t::PIN_FORGOTTEN, pin::LONGEST);
    Form::new(language.say(t::PIN_ASK), vec![field], c::ACCEPT).submit_on_enter()
}

pub(super) fn new_pin_form(language: Language) -> Form {
    let fields = vec![
        Field::secret(t::PIN_NEW, t::PIN_HINT, pin::LONGEST),
        Field::secret(t::PIN_AGAIN, t::PIN_HINT, pin::LONGEST),
    ];
    Form::new(language.say(c::PIN), fields, c::ACCEPT).intro(vec![language.say(t::PIN_INTRO).to_owned()])
}

pub(super) fn check_pins(language: Language, form: &mut Form) {
    let [first, second] = form.fields.as_mut_slice() else {
        return;
    };
    let length = first.value.chars().count();
    first.error = (length > 0 && length < pin::SHORTEST).then(|| language.say(t::PIN_SHORT).to_owned());
    second.error = (first.value != second.value).then(|| language.say(t::PIN_DIFFERENT).to_owned());
}
