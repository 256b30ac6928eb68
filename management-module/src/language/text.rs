//! A text in all languages, and tables of such texts.
//!
//! **Invariant:** a text has all languages, or it does not compile.

use super::Language;

/// A text in all languages, in the order of [`Language::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text([&'static str; 4]);

impl Text {
    pub(crate) const fn new(languages: [&'static str; 4]) -> Self {
        Self(languages)
    }

    /// In each language.
    #[cfg(test)]
    pub(crate) fn in_all(self) -> [&'static str; 4] {
        self.0
    }
}

impl Language {
    /// A text in this language.
    #[must_use]
    pub fn say(self, text: Text) -> &'static str {
        text.0[self as usize]
    }

    /// A text with `{}` filled in, one value after the other.
    #[must_use]
    pub fn fill(self, text: Text, values: &[&str]) -> String {
        let mut pieces = self.say(text).split("{}");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        let mut values = values.iter();
        for piece in pieces {
            filled.push_str(values.next().copied().unwrap_or_default());
            filled.push_str(piece);
        }
        filled
    }
}

/// Makes a constant of each text (English, German, French, Italian), and the list of all for the tests.
macro_rules! texts {
    ($vis:vis, $($name:ident = $english:literal | $german:literal | $french:literal | $italian:literal;)*) => {
        $($vis const $name: $crate::language::Text =
            $crate::language::Text::new([$english, $german, $french, $italian]);)*

        #[cfg(test)]
        $vis const ALL: &[(&str, $crate::language::Text)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use texts;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_in_order() {
        let text = Text::new(["{} of {}", "", "", ""]);
        assert_eq!(Language::En.fill(text, &["1", "2"]), "1 of 2");
        assert_eq!(Language::En.fill(text, &[]), " of ");
    }
}
