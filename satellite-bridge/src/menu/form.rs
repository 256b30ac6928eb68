//! A form: fields that are checked while they are typed.
//!
//! **Invariant:** pure; a form with a wrong field is not accepted, and what is typed stays bounded.

use super::{
    dialog::Meant,
    keys::Press,
    page::{Page, Style, columns, fit, pad},
    text::{Language, Text, common as t},
};

/// Columns of the names of fields.
const LABEL: usize = 26;
/// Columns of a value.
const VALUE: usize = 46;

/// What a field takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text of at most so many characters.
    Text(usize),
    /// The same, shown as stars.
    Secret(usize),
    /// One of these.
    Choice(Vec<String>, usize),
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Text,
    pub(super) hint: Text,
    pub(super) kind: Kind,
    pub(super) value: String,
    /// What is wrong with it.
    pub(super) error: Option<String>,
    pub(super) is_hidden: bool,
}

impl Field {
    pub(super) fn text(name: Text, hint: Text, value: &str, most: usize) -> Self {
        Self::new(name, hint, Kind::Text(most), value)
    }

    pub(super) fn secret(name: Text, hint: Text, most: usize) -> Self {
        Self::new(name, hint, Kind::Secret(most), "")
    }

    pub(super) fn choice(name: Text, hint: Text, options: Vec<String>, chosen: usize) -> Self {
        Self::new(name, hint, Kind::Choice(options, chosen), "")
    }

    fn new(name: Text, hint: Text, kind: Kind, value: &str) -> Self {
        Self {
            name,
            hint,
            kind,
            value: value.to_owned(),
            error: None,
            is_hidden: false,
        }
    }

    /// Which option is chosen.
    pub(super) fn chosen(&self) -> usize {
        match self.kind {
            Kind::Choice(_, chosen) => chosen,
            Kind::Text(_) | Kind::Secret(_) => 0,
        }
    }

    /// Takes this option, if there is one with that number.
    pub(super) fn choose(&mut self, option: usize) {
        if let Kind::Choice(options, chosen) = &mut self.kind
            && option < options.len()
        {
            *chosen = option;
        }
    }

    /// The option that is chosen.
    pub(super) fn option(&self) -> String {
        match &self.kind {
            Kind::Choice(options, chosen) => options.get(*chosen).cloned().unwrap_or_default(),
            Kind::Text(_) | Kind::Secret(_) => String::new(),
        }
    }

    fn shown(&self) -> String {
        match &self.kind {
            Kind::Text(_) => {
                // The end is where the cursor is.
                let skip = self.value.chars().count().saturating_sub(VALUE - 1);
                fit(&self.value.chars().skip(skip).collect::<String>(), VALUE)
            }
            Kind::Secret(_) => "*".repeat(self.value.chars().count().min(VALUE - 1)),
            Kind::Choice(options, chosen) => {
                let option = options.get(*chosen).map_or("", String::as_str);
                format!("< {} >", fit(option, VALUE - 4))
            }
        }
    }
}

/// Fields, and the entry that accepts them.
#[derive(Debug, Clone)]
pub(super) struct Form {
    title: String,
    intro: Vec<String>,
    pub(super) fields: Vec<Field>,
    accept: Text,
    mark: usize,
    /// Enter in the last field accepts.
    is_short: bool,
}

impl Form {
    pub(super) fn new(title: &str, fields: Vec<Field>, accept: Text) -> Self {
        Self {
            title: title.to_owned(),
            intro: Vec::new(),
            fields,
            accept,
            mark: 0,
            is_short: false,
        }
    }

    /// Lets Enter in the last field accept the form.
    pub(super) fn submit_on_enter(mut self) -> Self {
        self.is_short = true;
        self
    }

    /// Puts texts of ours above the fields.
    pub(super) fn intro(mut self, texts: Vec<String>) -> Self {
        self.intro = texts;
        self
    }

    /// Changes the head.
    pub(super) fn retitle(&mut self, title: &str) {
        title.clone_into(&mut self.title);
    }

    /// What was typed into a field.
    pub(super) fn value(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", |field| field.value.as_str())
    }

    /// Whether nothing is wrong.
    pub(super) fn is_right(&self) -> bool {
        self.fields
            .iter()
            .all(|field| field.is_hidden || field.error.is_none())
    }

    /// After each press the caller checks the fields and notes what is wrong.
    pub(super) fn press(&mut self, press: Press) -> Meant<()> {
        match press {
            Press::Escape => return Meant::Back,
            Press::Up | Press::BackTab => self.step(-1),
            Press::Down | Press::Tab => self.step(1),
            Press::Enter if self.mark + usize::from(self.is_short) < self.fields.len() => self.step(1),
            Press::Enter => {
                if self.is_right() {
                    return Meant::Done(());
                }
                let wrong = |field: &Field| !field.is_hidden && field.error.is_some();
                self.mark = self.fields.iter().position(wrong).unwrap_or(self.mark);
            }
            _ => self.edit(press),
        }
        Meant::Stay
    }

    fn edit(&mut self, press: Press) {
        let Some(field) = self.fields.get_mut(self.mark) else {
            return;
        };
        match (&mut field.kind, press) {
            (Kind::Choice(options, chosen), Press::Right | Press::Char(' ')) => {
                *chosen = (*chosen + 1) % options.len().max(1);
            }
            (Kind::Choice(options, chosen), Press::Left) => {
                *chosen = chosen.checked_sub(1).unwrap_or(options.len().saturating_sub(1));
            }
            (Kind::Text(_) | Kind::Secret(_), Press::Backspace) => {
                field.value.pop();
            }
            (Kind::Text(_) | Kind::Secret(_), Press::Delete) => field.value.clear(),
            (Kind::Text(most) | Kind::Secret(most), Press::Char(character))
                if field.value.chars().count() < *most =>
            {
                field.value.push(character);
            }
            _ => {}
        }
    }

    fn step(&mut self, by: isize) {
        let count = self.fields.len() + 1;
        for _ in 0..count {
            self.mark = (self.mark + count).saturating_add_signed(by) % count;
            if self.fields.get(self.mark).is_none_or(|field| !field.is_hidden) {
                return;
            }
        }
    }

    pub(super) fn page(&self, language: Language) -> Page {
        let mut page = Page::new(self.title.clone(), language.say(t::FOOT_FORM));
        page.blank();
        for text in &self.intro {
            page.text(text);
        }
        if !self.intro.is_empty() {
            page.blank();
        }
        for (index, field) in self
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| !field.is_hidden)
        {
            let is_marked = index == self.mark;
            let sign = if is_marked { '>' } else { ' ' };
            let flag = if field.error.is_some() { '!' } else { ' ' };
            let shown = field.shown();
            let name = pad(language.say(field.name), LABEL);
            let style = if field.error.is_some() {
                Style::Warning
            } else {
                Style::Plain
            };
            page.line(format!(" {sign} {name} {flag} {shown}"), style);
            if is_marked && !matches!(field.kind, Kind::Choice(..)) {
                page.cursor = Some((page.lines.len() - 1, LABEL + 6 + columns(&shown)));
            }
        }
        let is_marked = self.mark == self.fields.len();
        let (sign, style) = if is_marked {
            ('>', Style::Marked)
        } else {
            (' ', Style::Plain)
        };
        page.line(format!(" {sign} {}", language.say(self.accept)), style);
        page.blank();
        match self.fields.get(self.mark) {
            Some(Field {
                error: Some(error), ..
            }) => page.styled(error, Style::Warning),
            Some(field) => page.text(language.say(field.hint)),
            None => {}
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Text = Text(["a", "a", "a", "a"]);

    fn form() -> Form {
        let choice = Field::choice(A, A, vec!["x".into(), "y".into()], 0);
        let mut hidden = Field::text(A, A, "", 5);
        hidden.is_hidden = true;
        Form::new("t", vec![Field::text(A, A, "", 5), hidden, choice], A)
    }

    #[test]
    fn fields_are_typed_chosen_and_accepted() {
        let mut form = form();
        for press in [
            Press::Char('a'),
            Press::Char('b'),
            Press::Backspace,
            Press::Enter,
            Press::Right,
        ] {
            assert_eq!(form.press(press), Meant::Stay);
        }
        assert_eq!((form.fields[0].value.as_str(), form.fields[2].chosen()), ("a", 1));
        assert_eq!(form.press(Press::Down), Meant::Stay);
        assert_eq!(form.press(Press::Enter), Meant::Done(()));
        assert_eq!(form.press(Press::Escape), Meant::Back);
    }

    #[test]
    fn a_wrong_field_is_not_accepted_but_marked() {
        let mut form = form();
        form.press(Press::Up);
        form.fields[0].error = Some("wrong".into());
        assert_eq!(form.press(Press::Enter), Meant::Stay);
        assert_eq!(form.mark, 0);
    }

    #[test]
    fn a_field_takes_no_more_than_it_may() {
        let mut form = form();
        for _ in 0..100_000 {
            form.press(Press::Char('ä'));
        }
        assert_eq!(form.fields[0].value, "äääää");
    }
}
