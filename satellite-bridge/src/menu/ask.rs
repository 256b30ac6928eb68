//! Shows a page and waits for what the person does with it.
//!
//! **Invariant:** a page that nobody touches for long is left, whatever it asks.

use std::time::Duration;

use super::{
    Flow, IDLE, Menu, Stop,
    dialog::{self, List, Meant, Word},
    form::Form,
    keys::Press,
    page::{Page, Style},
    text::{Text, common as t},
};

/// How often a page that waits is drawn again, should the kernel have written over it.
const REDRAW: Duration = Duration::from_secs(1);

impl Menu {
    /// The next key on this page.
    pub(super) async fn press_on(&mut self, page: &Page) -> Flow<Press> {
        loop {
            self.screen.show(page)?;
            if let Some(press) = self.screen.press_within(REDRAW).await? {
                return Ok(press);
            }
            if self.screen.quiet_for() > IDLE {
                return Err(Stop::Idle);
            }
        }
    }

    /// The index of the chosen entry; `None` if the person went back.
    pub(super) async fn choose(&mut self, mut list: List) -> Flow<Option<usize>> {
        loop {
            let press = self.press_on(&list.page(self.language)).await?;
            match list.press(press) {
                Meant::Stay => {}
                Meant::Back => return Ok(None),
                Meant::Done(index) => return Ok(Some(index)),
            }
        }
    }

    /// Whether the person typed `word`, which shows that they mean it.
    pub(super) async fn agree(&mut self, title: Text, losses: &[Text], word: &'static str) -> Flow<bool> {
        let losses = losses.iter().map(|text| self.say(*text).to_owned()).collect();
        let mut question = Word::new(self.say(title), losses, word);
        self.screen.forget_typed();
        loop {
            let press = self.press_on(&question.page(self.language)).await?;
            match question.press(press) {
                Meant::Stay => {}
                Meant::Done(true) => return Ok(true),
                Meant::Back | Meant::Done(false) => {
                    self.tell(title, &[t::NOT_CHANGED]).await?;
                    return Ok(false);
                }
            }
        }
    }

    /// Whether the person filled the form; `check` notes what is wrong after each key.
    pub(super) async fn fill(&mut self, form: &mut Form, check: impl Fn(&mut Form)) -> Flow<bool> {
        loop {
            check(form);
            let press = self.press_on(&form.page(self.language)).await?;
            match form.press(press) {
                Meant::Stay => {}
                Meant::Back => return Ok(false),
                Meant::Done(()) => return Ok(true),
            }
        }
    }

    /// Tells something, and waits until it was read.
    pub(super) async fn tell(&mut self, title: Text, texts: &[Text]) -> Flow {
        let texts: Vec<_> = texts.iter().map(|text| self.say(*text).to_owned()).collect();
        self.tell_lines(title, &texts, Style::Plain).await
    }

    pub(super) async fn tell_lines(&mut self, title: Text, texts: &[String], style: Style) -> Flow {
        self.screen.forget_typed();
        let page = dialog::message(self.language, self.say(title), texts, style);
        self.press_on(&page).await.map(drop)
    }

    /// Tells what went wrong.
    pub(super) async fn fail(&mut self, title: Text, error: &str) -> Flow {
        let texts = dialog::failure(self.language, error);
        self.tell_lines(title, &texts, Style::Warning).await
    }

    /// Shows that something takes a while.
    pub(super) fn working(&mut self, title: Text, text: Text) -> Flow {
        let page = dialog::working(self.language, self.say(title), text);
        Ok(self.screen.show(&page)?)
    }
}
